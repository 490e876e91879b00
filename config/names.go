package config

import "strings"

const ownPrefix = "P28_" // every name under it must be known

// knownNames are the variables of all settings and their _FILE companions.
func knownNames() []string {
	names := make([]string, 0, len(table)+8)
	for _, s := range table {
		names = append(names, s.Name)
		if s.orFile {
			names = append(names, s.FileName())
		}
	}
	return names
}

// byName finds the setting that a variable gives a value to; file says that it is the _FILE companion.
func byName(name string) (index int, file, ok bool) {
	for i, s := range table {
		switch name {
		case s.Name:
			return i, false, true
		case s.FileName():
			return i, true, s.orFile
		}
	}
	return 0, false, false
}

// Nearest is the candidate with the least edit distance to name, "" when none comes nearer than half of its
// length.
func Nearest(name string, candidates []string) string {
	best, least := "", len(name)/2+1
	for _, candidate := range candidates {
		if d := distance(strings.ToUpper(name), strings.ToUpper(candidate)); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the number of bytes to insert, remove or replace to make b from a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// unknownName says what to do about a P28_ name that no setting has.
func unknownName(name, source string) *Problem {
	text := "is no setting of the heat observer"
	if near := Nearest(name, knownNames()); near != "" {
		text += "; did you mean " + near + "?"
	}
	return &Problem{Name: name, Source: source, Text: text}
}

// isName says whether text can be the name of an environment variable. What cannot is never shown: it may be
// part of somebody's secret.
func isName(text string) bool {
	for i, r := range text {
		if r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9' || i == 0) {
			return false
		}
	}
	return text != "" && len(text) <= 128
}
