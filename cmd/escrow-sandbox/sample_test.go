package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/token"
)

// sample is the sample platform as it runs in one script.
type sample struct {
	*exec.Cmd
	origin string
	said   bytes.Buffer
}

// boardWord is about the sample platform:
//
//	board starts [MODERATOR] | stops
//	board NAME signs-in | says-no | signs-out | opens PATH | presses BUTTON | sees WORDS     a browser there
//	board NAME writes WORDS | reports WORDS | bans WORDS | lifts WORDS | pen-name HANDLE PEN-NAME
//	board NAME is-tricked                             another site's form posts in their browser
//	board evidence PEN-NAME WORDS                     the folder has evidence of these words, and of no others
func boardWord(s *scene, ts *testscript.TestScript, args []string) error {
	switch args[0] {
	case "starts":
		return s.startBoard(ts, args[1:]...)
	case "stops":
		if err := s.board.Process.Kill(); err != nil {
			return err
		}
		s.board.Wait() //nolint:errcheck // it was killed
		s.logs.Write(s.board.said.Bytes())
		return nil
	case "evidence":
		return s.boardEvidence(ts.MkAbs("board"), token.Pseudonym(args[1]), args[2])
	}
	b := s.people[args[0]]
	if b == nil {
		b = world.NewBrowser()
		s.people[args[0]] = b
	}
	return s.onBoard(ts, b, everybody[testPeople[strings.TrimRight(args[0], "'234")]].Name, args[1], strings.Join(args[2:], ""), args[2:])
}

func (s *scene) startBoard(ts *testscript.TestScript, moderator ...string) error {
	program := ts.MkAbs("sample-platform")
	if out, err := exec.Command("go", "build", "-o", program, "../../deploy/sample-platform").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	listen := "127.0.0.1:0"
	if s.board != nil {
		listen = strings.Replace(strings.TrimPrefix(s.board.origin, "http://"), "localhost", "127.0.0.1", 1)
	}
	next := &sample{Cmd: exec.Command(program, "--issuer", s.Origin, "--client-id", "board", "--client-secret-file", ts.MkAbs("board.secret"),
		"--evidence-key", ts.MkAbs("board.jwk"), "--folder", ts.MkAbs("board"), "--listen", listen, "--moderator", strings.Join(moderator, ""))}
	next.Stderr = &next.said
	out, err := next.StdoutPipe()
	if err == nil {
		err = next.Start()
	}
	if err != nil {
		return err
	}
	ts.Defer(func() { next.Process.Kill() }) //nolint:errcheck // it has ended
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("%w: %s", err, next.said.String())
	}
	next.origin = strings.TrimSpace(strings.TrimPrefix(line, "The board is at "))
	s.board = next
	ts.Setenv("BOARD", next.origin)
	return nil
}

func (s *scene) onBoard(ts *testscript.TestScript, b *world.Browser, who, deed, words string, rest []string) error {
	ctx := context.Background()
	switch deed {
	case "signs-in", "says-no":
		if err := errors.Join(b.Open(ctx, s.board.origin)); err != nil {
			return err
		}
		if b.Offers("Sign out") {
			return nil
		}
		if err := b.Press(ctx, "Sign in with Penname", nil); err != nil {
			return err
		}
		if deed == "says-no" {
			return b.Press(ctx, "Do not sign in", nil)
		}
		if b.Offers("Prove my identity") {
			if err := b.ProveIdentity(ctx, who); err != nil {
				return err
			}
		}
		if b.Offers("Sign in to The board") {
			if err := b.Press(ctx, "Sign in to The board", nil); err != nil {
				return err
			}
		}
		return b.Shows(http.StatusOK, "We know nothing else about you")
	case "signs-out":
		if err := b.Press(ctx, "Sign out", nil); err != nil {
			return err
		}
		return b.Press(ctx, "Sign out here too", nil)
	case "opens":
		return b.Open(ctx, s.board.origin+words)
	case "presses":
		if err := b.Press(ctx, words, nil); err != nil {
			return err
		}
		return b.Shows(http.StatusOK, "")
	case "writes":
		if err := b.Press(ctx, "Post", url.Values{"text": {words}}); err != nil {
			return err
		}
		return b.Shows(http.StatusOK, words)
	case "reports", "bans", "lifts":
		m := regexp.MustCompile(`(?s)<article id="(\d+)">(?:[^<]|<[^a])*?` + regexp.QuoteMeta(words)).FindStringSubmatch(b.Page.Body)
		if m == nil {
			return errors.New("no such message on the page")
		}
		if err := b.Press(ctx, map[string]string{"reports": "Report this message", "bans": "Ban @", "lifts": "Lift the ban on @"}[deed], url.Values{"post": {m[1]}}); err != nil {
			return err
		}
		return b.Shows(http.StatusOK, "")
	case "sees":
		return b.Shows(b.Page.Status, words)
	case "pen-name":
		m := regexp.MustCompile(`<code>@([0-9a-z]+)</code> here, in full <code>(pen1[0-9a-z]+)</code>`).FindStringSubmatch(b.Page.Body)
		if m == nil || !token.Pseudonym(m[2]).Has(token.Handle(m[1])) {
			return errors.New("no pen name on the page")
		}
		ts.Setenv(rest[0], m[1])
		ts.Setenv(rest[1], m[2])
		return nil
	case "is-tricked":
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.board.origin+"/act", strings.NewReader("deed=write&text=tricked"))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if err := b.Do(req); err != nil {
			return err
		}
		return b.Shows(http.StatusOK, "tricked")
	}
	return fmt.Errorf("unknown deed %q", deed)
}

// boardEvidence checks the evidence in a folder by the rules of this world.
func (s *scene) boardEvidence(folder string, author token.Pseudonym, words string) error {
	var rules policy.Bundle
	bundle, err := os.ReadFile(s.Path("bundle.json"))
	if err == nil {
		err = json.Unmarshal(bundle, &rules)
	}
	if err != nil {
		return err
	}
	issuer, err := token.ParseKeySet(rules.IssuerKeys)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(folder, "..", "board.pub"))
	if err != nil {
		return err
	}
	platform, err := token.ParseKeySet([]byte(`{"keys":[` + string(key) + `]}`))
	if err != nil {
		return err
	}
	made, err := filepath.Glob(filepath.Join(folder, "post-*.jws"))
	if err != nil || len(made) != 1 {
		return fmt.Errorf("evidence of %d posts: %w", len(made), err)
	}
	raw, err := os.ReadFile(made[0])
	if err != nil {
		return err
	}
	e, t, err := token.VerifyEvidence(string(raw), token.EvidenceRules{Issuer: s.Origin, IssuerKeys: issuer, PlatformKeys: platform})
	if err != nil {
		return err
	}
	if t.Subject != author || e.Platform != "board" || len(e.Post.Exhibits) != 1 {
		return fmt.Errorf("evidence of something else: %+v", e)
	}
	kept, err := os.ReadFile(filepath.Join(folder, "exhibits", e.Post.Exhibits[0].Name()))
	if err != nil {
		return err
	}
	if string(kept) != words {
		return errors.New("the exhibit has other words")
	}
	return e.Post.Exhibits[0].Check(kept)
}
