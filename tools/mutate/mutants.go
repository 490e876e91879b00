package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one way to break one place. It is in the binary with all the others and does nothing unless it is chosen.
type mutant struct {
	id      int
	at      token.Position
	fn      ast.Node // the declaration it stands in
	kind    kind
	code    string
	dropped bool // it does not compile
}

type kind string

const (
	negated   kind = "negated"
	boundary  kind = "boundary"
	always    kind = "always true"
	never     kind = "always false"
	operator  kind = "operator"
	returns   kind = "returns zero"
	removed   kind = "removed"
	backwards kind = "backwards"
)

func (m *mutant) place() string {
	return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(m.at.Filename)), filepath.Base(m.at.Filename), m.at.Line)
}

func (m *mutant) String() string {
	return fmt.Sprintf("%s: %s: %s", m.place(), m.kind, m.code)
}

// file is a source file and what is to be written around the nodes of its syntax. Nothing adds a line, so that an error
// of the compiler is at the line of the source.
type file struct {
	name    string
	src     []byte
	fset    *token.FileSet
	syntax  *ast.File
	mutants *[]*mutant
	fn      ast.Node
	wraps   map[ast.Node][]wrap
}

type wrap struct {
	m    *mutant
	with func(inner string) string
}

// read finds the mutants of a file and adds them to the list.
func read(name string, src []byte, mutants *[]*mutant) (*file, error) {
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{name: name, src: src, fset: fset, syntax: syntax, mutants: mutants, wraps: map[ast.Node][]wrap{}}
	for _, decl := range syntax.Decls {
		f.fn = decl
		switch d := decl.(type) {
		case *ast.FuncDecl:
			f.function(d.Type, d.Body)
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				f.walk(d, nil)
			}
		}
	}
	return f, nil
}

func (f *file) function(typ *ast.FuncType, body *ast.BlockStmt) {
	if body != nil {
		f.walk(body, typ.Results)
	}
}

// walk looks for places under a node; results are those of the function around it.
func (f *file) walk(node ast.Node, results *ast.FieldList) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			f.function(n.Type, n.Body)
			return false
		case *ast.ArrayType, *ast.GenDecl:
			g, ok := n.(*ast.GenDecl)
			return ok && g.Tok == token.VAR // lengths and constants are the compiler's
		case *ast.BlockStmt:
			f.statements(n.List, results)
		case *ast.CaseClause:
			f.statements(n.Body, results)
		case *ast.CommClause:
			f.statements(n.Body, results)
		case *ast.IfStmt:
			f.condition(n.Cond)
		case *ast.ForStmt:
			// A loop's condition negated is a loop that never begins or never ends: nothing to learn from it.
			if cond, ok := n.Cond.(*ast.BinaryExpr); ok && comparison(cond.Op) {
				f.boundary(cond)
				f.walk(cond.X, results)
				f.walk(cond.Y, results)
				if n.Init != nil {
					f.walk(n.Init, results)
				}
				f.walk(n.Body, results)
				return false
			}
		case *ast.BinaryExpr:
			f.binary(n)
		case *ast.Ident:
			if n.Name == "true" || n.Name == "false" {
				f.add(n, negated, func(m *mutant, inner string) string { return fmt.Sprintf("(%s != mutant(%d))", inner, m.id) })
			}
		case *ast.ExprStmt:
			return !logs(n.X)
		}
		return true
	})
}

// condition negates what is no comparison; those are negated wherever they stand.
func (f *file) condition(cond ast.Expr) {
	if b, ok := cond.(*ast.BinaryExpr); ok && comparison(b.Op) {
		return
	}
	f.add(cond, negated, func(m *mutant, inner string) string { return fmt.Sprintf("((%s) != mutant(%d))", inner, m.id) })
}

func comparison(op token.Token) bool {
	return slices.Contains([]token.Token{token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ}, op)
}

func (f *file) binary(n *ast.BinaryExpr) {
	switch {
	case comparison(n.Op):
		f.boundary(n)
		f.add(n, negated, func(m *mutant, inner string) string { return fmt.Sprintf("((%s) != mutant(%d))", inner, m.id) })
	case n.Op == token.LAND:
		for _, side := range []ast.Expr{n.X, n.Y} {
			f.add(side, always, func(m *mutant, inner string) string { return fmt.Sprintf("(mutant(%d) || (%s))", m.id, inner) })
		}
	case n.Op == token.LOR:
		for _, side := range []ast.Expr{n.X, n.Y} {
			f.add(side, never, func(m *mutant, inner string) string { return fmt.Sprintf("(!mutant(%d) && (%s))", m.id, inner) })
		}
	case arithmetic[n.Op] != "":
		_, x := n.X.(*ast.BasicLit)
		if _, y := n.Y.(*ast.BasicLit); x && y {
			return // a constant without a type
		}
		f.add(n, operator, func(m *mutant, _ string) string {
			return fmt.Sprintf("%s(%d, %s, %s)", arithmetic[n.Op], m.id, f.text(n.X), f.text(n.Y))
		})
	}
}

// boundary lets < hold for equal values too, and <= no longer. The sides are written once more, hence on one line.
func (f *file) boundary(n *ast.BinaryExpr) {
	var format string
	switch n.Op {
	case token.LSS, token.GTR:
		format = "(mutant(%d) && (%s) == (%s) || (%s))"
	case token.LEQ, token.GEQ:
		format = "(!(mutant(%d) && (%s) == (%s)) && (%s))"
	default:
		return
	}
	if f.line(n.Pos()) != f.line(n.End()) {
		return
	}
	f.add(n, boundary, func(m *mutant, inner string) string {
		return fmt.Sprintf(format, m.id, f.text(n.X), f.text(n.Y), inner)
	})
}

func (f *file) statements(list []ast.Stmt, results *ast.FieldList) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ReturnStmt:
			f.returned(s, results)
		case *ast.ExprStmt:
			if !logs(s.X) {
				f.remove(s)
			}
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE || !slices.ContainsFunc(s.Lhs, func(e ast.Expr) bool { return !named(e, "_") }) {
				continue
			}
			if op, ok := opposite[s.Tok]; ok && f.line(s.Pos()) == f.line(s.End()) {
				f.add(s, operator, func(m *mutant, inner string) string {
					return fmt.Sprintf("if mutant(%d) { %s %s %s } else { %s }", m.id, f.text(s.Lhs[0]), op, f.text(s.Rhs[0]), inner)
				})
			}
			f.remove(s)
		case *ast.IncDecStmt:
			op := map[token.Token]string{token.INC: "--", token.DEC: "++"}[s.Tok]
			f.add(s, backwards, func(m *mutant, inner string) string {
				return fmt.Sprintf("if mutant(%d) { %s%s } else { %s }", m.id, f.text(s.X), op, inner)
			})
			f.remove(s)
		case *ast.SendStmt, *ast.DeferStmt, *ast.GoStmt, *ast.BranchStmt:
			if b, ok := s.(*ast.BranchStmt); ok && b.Tok == token.FALLTHROUGH {
				continue
			}
			f.remove(s)
		}
	}
}

var opposite = map[token.Token]string{
	token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+=", token.MUL_ASSIGN: "/=", token.QUO_ASSIGN: "*=",
}

var arithmetic = map[token.Token]string{
	token.ADD: "mutantAdd", token.SUB: "mutantSub", token.MUL: "mutantMul", token.QUO: "mutantDiv",
}

func (f *file) remove(s ast.Stmt) {
	f.add(s, removed, func(m *mutant, inner string) string { return fmt.Sprintf("if !mutant(%d) { %s }", m.id, inner) })
}

// returned gives zero values instead, unless they are that already.
func (f *file) returned(s *ast.ReturnStmt, results *ast.FieldList) {
	if len(s.Results) == 0 || !slices.ContainsFunc(s.Results, func(e ast.Expr) bool { return !zero(e) }) {
		return
	}
	var zeros []string
	for _, field := range results.List {
		typ := string(f.src[f.offset(field.Type.Pos()):f.offset(field.Type.End())])
		if strings.Contains(typ, "\n") {
			return
		}
		for range max(1, len(field.Names)) {
			zeros = append(zeros, "*new("+typ+")")
		}
	}
	f.add(s, returns, func(m *mutant, inner string) string {
		return fmt.Sprintf("if mutant(%d) { return %s }; %s", m.id, strings.Join(zeros, ", "), inner)
	})
}

func zero(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Value == "0" || e.Value == `""`
	case *ast.CompositeLit:
		_, slice := e.Type.(*ast.ArrayType)
		return len(e.Elts) == 0 && !slice
	}
	return named(e, "nil") || named(e, "false")
}

func named(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// logs tells whether a call writes a log line: what people read is not what the tests are for.
func logs(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"DebugContext", "InfoContext", "WarnContext", "ErrorContext"}, sel.Sel.Name)
}

func (f *file) add(n ast.Node, k kind, with func(m *mutant, inner string) string) {
	code, _, _ := strings.Cut(string(f.src[f.offset(n.Pos()):f.offset(n.End())]), "\n")
	m := &mutant{id: len(*f.mutants) + 1, at: f.fset.Position(n.Pos()), fn: f.fn, kind: k, code: code}
	*f.mutants = append(*f.mutants, m)
	f.wraps[n] = append(f.wraps[n], wrap{m, func(inner string) string { return with(m, inner) }})
}

func (f *file) offset(p token.Pos) int { return f.fset.Position(p).Offset }
func (f *file) line(p token.Pos) int   { return f.fset.Position(p).Line }

// render is the file with all its mutants in it.
func (f *file) render() string {
	return f.inner(f.syntax, 0, len(f.src))
}

// text is a node with the mutants of it and within it.
func (f *file) text(n ast.Node) string {
	s := f.inner(n, f.offset(n.Pos()), f.offset(n.End()))
	for _, w := range f.wraps[n] {
		if !w.m.dropped {
			s = w.with(s)
		}
	}
	return s
}

func (f *file) inner(node ast.Node, from, to int) string {
	var within []ast.Node
	ast.Inspect(node, func(n ast.Node) bool {
		if n == nil || n == node || len(f.wraps[n]) == 0 {
			return true
		}
		within = append(within, n)
		return false
	})
	slices.SortFunc(within, func(a, b ast.Node) int { return int(a.Pos() - b.Pos()) })
	var out strings.Builder
	for _, n := range within {
		out.Write(f.src[from:f.offset(n.Pos())])
		out.WriteString(f.text(n))
		from = f.offset(n.End())
	}
	out.Write(f.src[from:to])
	return out.String()
}
