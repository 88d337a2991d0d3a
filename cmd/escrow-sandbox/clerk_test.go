package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// clerkWord puts a clerk at the terminal, who answers what a file says by the names of the
// questions, and leaves at any other.
func clerkWord(s *scene, ts *testscript.TestScript, args []string) error {
	answers := map[string]string{}
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &answers); err != nil {
		return err
	}
	s.clerk = func(_ context.Context, question string) (string, error) {
		name, _, _ := strings.Cut(question[strings.LastIndex(question, "\n")+1:], " ")
		answer, known := answers[name]
		if !known {
			return "", io.ErrUnexpectedEOF
		}
		return os.Expand(answer, ts.Getenv), nil
	}
	return nil
}
