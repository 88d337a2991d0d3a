// Package evidencetest runs the programs in other languages that deploy/evidence.md shows,
// as they stand there, for the tests that verify what they make.
package evidencetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// page is where a test runs, in a package that is two folders deep.
const page = "../../deploy/evidence.md"

// ErrMissing is the error of a language that is not installed.
var ErrMissing = errors.New("the language is not installed")

// Languages are those of the programs, as the page names them.
var Languages = []string{"js", "python", "php"}

// commands run a program; Debian's packages for Python are those of /usr/bin/python3.
var commands = map[string][]string{"js": {"node"}, "python": {"/usr/bin/python3", "python3"}, "php": {"php"}}

// Program is the one program in a language under a heading of the page.
func Program(heading, language string) (string, error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return "", err
	}
	_, chapter, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	_, rest, begins := strings.Cut(chapter, "\n```"+language+"\n")
	program, after, ends := strings.Cut(rest, "\n```\n")
	if !ok || !begins || !ends || strings.Contains(after, "\n```"+language+"\n") {
		return "", fmt.Errorf("there is not exactly one program in %s under %q", language, heading)
	}
	return program + "\n", nil
}

// headings are the chapters with the makers.
var headings = map[string]string{"js": "Node", "python": "Python", "php": "PHP"}

// Maker is the program that makes evidence.
func Maker(language string) (string, error) { return Program(headings[language], language) }

// Make runs the maker of a language in dir, where the files of the post's exhibits are, and
// returns the evidence of the post, which is one JSON object.
func Make(ctx context.Context, language, dir string, key jose.JSONWebKey, platform string, post []byte) (string, error) {
	program, err := Maker(language)
	if err != nil {
		return "", err
	}
	jwk, err := json.Marshal(key)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "maker.jwk"), jwk, 0o600); err != nil {
		return "", err
	}
	return Run(ctx, language, dir, program, post, "maker.jwk", platform)
}

// Run runs a program in dir and returns what it prints, without the line feed.
func Run(ctx context.Context, language, dir, program string, input []byte, args ...string) (string, error) {
	command := ""
	for _, name := range commands[language] {
		if path, err := exec.LookPath(name); err == nil {
			command = path
			break
		}
	}
	if command == "" {
		return "", ErrMissing
	}
	file := filepath.Join(dir, "program."+language)
	if language == "js" { // as a module, which Node tells by the name
		file = filepath.Join(dir, "program.mjs")
	}
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		return "", err
	}
	var out, said bytes.Buffer
	c := exec.CommandContext(ctx, command, append([]string{file}, args...)...)
	c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, bytes.NewReader(input), &out, &said
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", language, err, said.String())
	}
	return strings.TrimSpace(out.String()), nil
}
