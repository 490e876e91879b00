package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"heatobserver/config"
)

// completionCommand prints a script for a shell. The script asks `processor complete` for each word, so that it never
// falls behind the commands and flags that are there.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is the end of `processor completion --help`.
func (completionCommand) Help() string {
	return `Examples:
  source <(processor completion bash)
  processor completion bash >/etc/bash_completion.d/processor
  processor completion zsh >"${fpath[1]}/_processor"
  processor completion fish >~/.config/fish/completions/processor.fish

Completes commands, flags and the words that a flag allows; elsewhere the shell completes files.`
}

var (
	//go:embed completion/bash
	bashCompletion string
	//go:embed completion/zsh
	zshCompletion string
	//go:embed completion/fish
	fishCompletion string
)

// Run prints the script.
func (c completionCommand) Run(_ context.Context, sys *system) error {
	script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	if _, err := io.WriteString(sys.stdout, script); err != nil {
		return fmt.Errorf("print the script: %w", err)
	}
	return nil
}

// completeCommand is what the scripts call.
type completeCommand struct {
	Words []string `arg:"" optional:"" help:"The words behind the name of the program, the last one unfinished."`
}

// Run prints what the last word may become, a line each.
func (c completeCommand) Run(_ context.Context, sys *system, app *kong.Kong) error {
	for _, word := range candidates(app.Model.Node, c.Words) {
		if _, err := fmt.Fprintln(sys.stdout, word); err != nil {
			return fmt.Errorf("print the candidates: %w", err)
		}
	}
	return nil
}

// candidates are the words that the last of words, which may be empty, is the beginning of.
func candidates(node *kong.Node, words []string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "=" }) // bash splits there
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	var wanting *kong.Flag // whose value comes next
	for _, word := range words[:len(words)-1] {
		switch {
		case wanting != nil:
			wanting = nil
		case strings.HasPrefix(word, "-"):
			wanting = flagOf(node, word)
		default:
			node = childOf(node, word)
		}
	}
	if name, value, given := strings.Cut(last, "="); given && strings.HasPrefix(name, "-") {
		var all []string
		for _, word := range beginning(value, wordsOf(named(node, name))) {
			all = append(all, name+"="+word)
		}
		return all
	}
	if wanting != nil {
		return beginning(last, wordsOf(wanting))
	}
	var all []string
	if strings.HasPrefix(last, "-") {
		for _, flag := range flagsOf(node) {
			all = append(all, "--"+flag.Name)
		}
		return beginning(last, all)
	}
	for _, child := range node.Children {
		if !child.Hidden {
			all = append(all, child.Name)
		}
	}
	for _, positional := range node.Positional {
		all = append(all, splitWords(positional.Enum)...)
	}
	return beginning(last, all)
}

func beginning(prefix string, words []string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.HasPrefix(w, prefix) })
	slices.Sort(words)
	return slices.Compact(words)
}

// childOf is the command of that name, or node itself where the word is an argument.
func childOf(node *kong.Node, word string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == word || slices.Contains(child.Aliases, word) {
			return child
		}
	}
	return node
}

// flagsOf are the flags that may stand behind a command, with those of the command that is meant when none is named.
func flagsOf(node *kong.Node) []*kong.Flag {
	if node.DefaultCmd != nil {
		node = node.DefaultCmd
	}
	var all []*kong.Flag
	for _, level := range node.AllFlags(true) {
		all = append(all, level...)
	}
	return all
}

func named(node *kong.Node, word string) *kong.Flag {
	for _, flag := range flagsOf(node) {
		if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
			return flag
		}
	}
	return nil
}

// flagOf is the flag whose value is the next word, or nil.
func flagOf(node *kong.Node, word string) *kong.Flag {
	if flag := named(node, word); flag != nil && !flag.IsBool() {
		return flag
	}
	return nil
}

// wordsOf are the words that a flag allows, where it does not allow any.
func wordsOf(flag *kong.Flag) []string {
	if flag == nil {
		return nil
	}
	if flag.Enum != "" {
		return splitWords(flag.Enum)
	}
	for _, setting := range config.Settings() {
		if setting.Flag() == flag.Name {
			return setting.Choices
		}
	}
	return nil
}

func splitWords(enum string) []string {
	return strings.FieldsFunc(enum, func(r rune) bool { return r == ',' || r == ' ' })
}
