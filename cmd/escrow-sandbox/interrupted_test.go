package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/penname/penname/cmd/escrow/command"
)

// cutting answers as the network does, until somebody asks for an exhibit.
type cutting func() (*http.Response, error)

func (c cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && (strings.Contains(r.URL.Path, "/exhibits/") || strings.HasSuffix(r.URL.Path, "/short-exhibits")) {
		return c()
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Who is interrupted while exhibits are fetched, or loses the line, is told so: nothing is
// said of the exhibits, no case is approved for it, and no certificate is printed.
func TestReadingThatIsCutOffFindsNothing(t *testing.T) {
	tb := startForTest(t)
	x := filedCase(t, tb)
	cut := func(args []string, answer func(stop func()) (*http.Response, error)) (said string, code int) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var out strings.Builder
		code = command.Run(ctx, args, command.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: tb.Clock.Now,
			HTTP: &http.Client{Transport: cutting(func() (*http.Response, error) { return answer(stop) })}})
		return out.String(), code
	}
	answers := map[string]struct {
		answer func(stop func()) (*http.Response, error)
		code   int
		says   string
	}{
		"interrupted": {func(stop func()) (*http.Response, error) { stop(); return nil, context.Canceled }, 130, "interrupted: "},
		"no line":     {func(func()) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, 1, "server.unreachable: "},
		"a 503": {func(func()) (*http.Response, error) {
			return &http.Response{StatusCode: 503, Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader("busy"))}, nil
		}, 1, ""},
	}
	check := func(args []string) {
		for name, c := range answers {
			said, code := cut(args, c.answer)
			if code != c.code || !strings.Contains(said, c.says) || strings.Contains(said, "missing") || strings.Contains(said, "certificate") || strings.Contains(said, "question:") {
				t.Errorf("%s: %v: %d, %s", name, args[:2], code, said)
			}
		}
	}
	check(tb.AsCustodian("alba", "review", x.ID))
	if said, code := tb.Escrow(t.Context(), tb.AsCustodian("alba", "approve", x.ID)...); code != 1 || !strings.Contains(said, "custodian.exhibits_not_read") {
		t.Error(said)
	}
	for _, id := range []string{"alba", "bruno"} {
		if err := x.Approve(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	check(x.OpenArgs())
	if said, code := tb.Escrow(t.Context(), x.OpenArgs()...); code != 0 || !strings.Contains(said, "certificate") {
		t.Error(said)
	}
}
