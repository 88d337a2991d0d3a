// Package echo5 tries what moving the edge of the service from Echo v4 to v5 takes.
package echo5

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const v5 = "github.com/labstack/echo/v5@v5.4.5"

// move is all of it: in each file of escrow/web, what stands there once, and what v5 wants in
// its place.
var move = map[string][][2]string{
	"web.go": {
		{`"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
`, `"github.com/labstack/echo/v5"
`},
		{"	e.HideBanner, e.HidePort = true, true\n", "	e.Logger = slog.New(slog.DiscardHandler)\n"}, // v5 writes to stdout else
		{"e.Use(s.security, middleware.RecoverWithConfig(middleware.RecoverConfig{\n		DisableErrorHandler: false, LogErrorFunc: s.logPanic,\n	}), s.record", "e.Use(s.security, s.recover, s.record"},
		{"serve := func(c echo.Context)", "serve := func(c *echo.Context)"},
		{"		for _, name := range c.ParamNames() {\n			r.SetPathValue(name, c.Param(name))\n", "		for _, p := range c.PathValues() {\n			r.SetPathValue(p.Name, p.Value)\n"},
		// Any is every method in v5, also one that nobody knows.
		{"s.router.Any(path, func(c echo.Context)", "s.router.Match([]string{\"CONNECT\", \"DELETE\", \"GET\", \"HEAD\", \"OPTIONS\", \"PATCH\", \"POST\", \"PROPFIND\", \"PUT\", \"TRACE\", \"REPORT\"}, path, func(c *echo.Context)"},
		{"func (s *Server) sameSite(next echo.HandlerFunc) echo.HandlerFunc {\n	return func(c echo.Context)", "func (s *Server) sameSite(next echo.HandlerFunc) echo.HandlerFunc {\n	return func(c *echo.Context)"},
		{"func (s *Server) security(next echo.HandlerFunc) echo.HandlerFunc {\n	return func(c echo.Context)", "func (s *Server) security(next echo.HandlerFunc) echo.HandlerFunc {\n	return func(c *echo.Context)"},
		// v5 makes the panic's value an error, whose text would be logged.
		{`func (s *Server) logPanic(c echo.Context, _ error, stack []byte) error {
	// The panic's value may hold request data: only where it happened is logged.
	s.Log.Error("panic in handler", slog.String("route", c.Path()), slog.String("stack", string(stack)))
	return errInternal
}`, `func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) (err error) {
		defer func() {
			switch value := recover(); value {
			case nil:
			case http.ErrAbortHandler:
				panic(value)
			default:
				// The panic's value may hold request data: only where it happened is logged.
				s.Log.Error("panic in handler", slog.String("route", c.Path()), slog.String("stack", string(debug.Stack())))
				err = errInternal
			}
		}()
		return next(c)
	}
}`},
		{"	\"net/url\"\n	\"slices\"\n", "	\"net/url\"\n	\"runtime/debug\"\n	\"slices\"\n"},
	},
	"record.go": {
		{`"github.com/labstack/echo/v4"`, `"github.com/labstack/echo/v5"`},
		{"return func(c echo.Context)", "return func(c *echo.Context)"},
		{"			c.Error(err)\n", "			s.refuse(c, err)\n"},
		{"		ended(c.Response().Status)\n", "		_, status := echo.ResolveResponseStatus(c.Response(), nil)\n		ended(status)\n"},
		{`slog.Int("status", c.Response().Status)`, `slog.Int("status", status)`},
	},
	"errors.go": {
		{`"github.com/labstack/echo/v4"`, `"github.com/labstack/echo/v5"`},
		{"func (s *Server) refuse(err error, c echo.Context) {\n	if c.Response().Committed {", "func (s *Server) refuse(c *echo.Context, err error) {\n	if res, uerr := echo.UnwrapResponse(c.Response()); uerr == nil && res.Committed {"},
		// The router's own errors are no *echo.HTTPError any more.
		{`	var he *echo.HTTPError
	if errors.As(err, &he) {
		switch he.Code {
		case http.StatusNotFound:
			return errNoRoute
		case http.StatusMethodNotAllowed:
			return errMethod
		case http.StatusRequestEntityTooLarge:
			return errTooLarge
		}
	}
`, `	switch echo.StatusCode(err) {
	case http.StatusNotFound:
		return errNoRoute
	case http.StatusMethodNotAllowed:
		return errMethod
	case http.StatusRequestEntityTooLarge:
		return errTooLarge
	}
`},
	},
	"sender.go": {
		{`"github.com/labstack/echo/v4/middleware"
	"golang.org/x/time/rate"
`, `"github.com/labstack/echo/v5/middleware"
`},
		{"Rate: rate.Limit(r.PerSecond),", "Rate: r.PerSecond,"},
	},
}

// TestMove builds the edge and the sides behind it with that, and runs the tests of the edge
// and of the disclosing side on v5. The repository stays as it is: Go reads the changed
// files, and another go.mod, from elsewhere.
func TestMove(t *testing.T) {
	root, dir := filepath.Join("..", ".."), t.TempDir()
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	read := func(name string) []byte {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	replaced := map[string]string{}
	for name, changes := range move {
		name = filepath.Join("escrow", "web", name)
		text := string(read(name))
		for _, change := range changes {
			if strings.Count(text, change[0]) != 1 {
				t.Errorf("%s has not once %q", name, change[0])
			}
			text = strings.Replace(text, change[0], change[1], 1)
		}
		replaced[filepath.Join(root, name)] = write(filepath.Base(name), []byte(text))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	mod := write("go.mod", read("go.mod"))
	write("go.sum", read("go.sum"))
	flags := []string{"-modfile=" + mod, "-overlay=" + write("overlay.json", overlay)}
	run := func(arguments ...string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), "go", arguments...)
		command.Dir = root
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
	run("get", flags[0], v5)
	run(append(append([]string{"vet"}, flags...), "./escrow/web/...")...)
	run(append(append([]string{"test"}, flags...), "./escrow/web", "./escrow/web/court")...)
}
