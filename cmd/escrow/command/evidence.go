package command

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// errExhibitMissing is said of an exhibit that is not in the folder.
var errExhibitMissing = refusal.New(refusal.Invalid, "evidence.exhibit_missing", "The folder of --exhibits has no file for an exhibit; put it there, named by its SHA-256 in lower-case hex, as escrow evidence make --exhibits does.")

// evidence is `escrow evidence`: what a platform's engineer needs, and whoever is handed
// evidence before a warrant is made of it.
func evidence(p *program) *cobra.Command {
	return group("evidence", "Make, check and read a platform's evidence of posts", evidenceMake(p), evidenceCheck(p), evidenceShow(p), evidenceSchema(p))
}

// maxEvidenceLine bounds a line of a file of posts or of evidence, in bytes: a text of 1 MiB
// takes six times as much if each character is escaped.
const maxEvidenceLine = 8 << 20

// eachLine calls do with each line of a file that is not empty, with its number, without
// reading the file as a whole; - is the standard input. What do refuses is named by file and line.
func (p *program) eachLine(name string, do func(line int, text string) error) error {
	in, err := p.open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxEvidenceLine)
	n := 0
	for lines.Scan() {
		n++
		if text := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\uFEFF")); text != "" {
			if err := do(n, text); err != nil {
				return shell.InFile(name, n, err)
			}
		}
	}
	if lines.Err() != nil {
		return secretfile.ErrUnreadable.Because(fmt.Errorf("%s, line %d: %w", name, n+1, lines.Err()))
	}
	return nil
}

// inOneLine adds to what a line of evidence is refused for that several pieces stand in it:
// files of one piece end without a line feed.
func inOneLine(raw string, err error) error {
	if e := refusal.Of(err); e != nil && strings.Count(raw, ".") > 2 {
		return e.Because(errors.New("there seem to be several pieces in one line: put a line feed after each, or name their files one by one"))
	}
	return err
}

func (p *program) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(p.Stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	return f, nil
}

// shownExhibit is an exhibit as the commands show it.
type shownExhibit struct {
	Type   string  `json:"type"`
	SHA256 string  `json:"sha256"`
	Length int64   `json:"length"`         // bytes
	Text   *string `json:"text,omitempty"` // as published, if it is a text and its file is there
}

// shownEvidence is what one piece of evidence says.
type shownEvidence struct {
	File     string         `json:"file"`
	Line     int            `json:"line"`
	SHA256   string         `json:"sha256"` // of the evidence: what a warrant names
	Version  int            `json:"version"`
	Platform string         `json:"platform"`
	KeyID    string         `json:"kid"`
	PenName  string         `json:"pen_name"`
	URL      string         `json:"url"`
	At       string         `json:"at"` // RFC 3339, UTC
	Proof    bool           `json:"dpop"`
	Suggests []string       `json:"author_suggests,omitempty"`
	Exhibits []shownExhibit `json:"exhibits"`
}

func shown(file string, line int, raw string, e *token.Evidence) shownEvidence {
	sum := sha256.Sum256([]byte(raw))
	var claims struct {
		Subject string `json:"sub"`
	}
	document.ReadUnverified(e.Token, &claims)
	s := shownEvidence{
		File: file, Line: line, SHA256: hex.EncodeToString(sum[:]), Version: e.Version, Platform: e.Platform, KeyID: e.KeyID, PenName: claims.Subject,
		URL: e.Post.URL, At: e.Post.At.UTC().Format(time.RFC3339), Proof: e.Proof != "", Suggests: e.Post.AuthorSuggests, Exhibits: []shownExhibit{},
	}
	for _, x := range e.Post.Exhibits {
		s.Exhibits = append(s.Exhibits, shownExhibit{Type: x.Type, SHA256: x.Name(), Length: x.Length})
	}
	return s
}

// text is for a terminal: nothing that a platform or an author wrote can pass for a line of it.
func (s *shownEvidence) text() string {
	var out strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&out, "%-10s %s\n", name, document.Visible(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\u2028")))
	}
	line("evidence", "sha256 %s, which a warrant names", s.SHA256)
	line("platform", "%s, key %s", s.Platform, s.KeyID)
	line("pen name", "%s", s.PenName)
	line("post", "%s", s.URL)
	if len(s.Suggests) > 0 {
		line("author", "the platform's account suggests: %s", strings.Join(s.Suggests, ", "))
	}
	line("at", "%s", s.At)
	if s.Proof {
		line("proof", "by DPoP, of the author's key")
	} else {
		line("proof", "none: the platform's word alone")
	}
	if len(s.Suggests) > 0 {
		line("author", "the account suggests: %s", strings.Join(s.Suggests, ", "))
	}
	if s.Version == 1 {
		line("exhibits", "none: version 1 says only a digest of what was published")
	}
	for _, x := range s.Exhibits {
		line("exhibit", "%s, %d bytes, sha256 %s", x.Type, x.Length, x.SHA256)
		if x.Text != nil {
			for _, words := range strings.Split(document.Visible(*x.Text), "\n") {
				fmt.Fprintf(&out, "         | %s\n", words)
			}
		}
	}
	return out.String()
}

// readExhibit reads the file of an exhibit from a folder, and compares it.
func readExhibit(dir string, x token.Exhibit) ([]byte, error) {
	f, err := exhibit.OpenGiven(filepath.Join(dir, x.Name()))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errExhibitMissing.Because(errors.New(x.Name()))
	}
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, token.MaxExhibit+1))
	if err != nil {
		return nil, secretfile.ErrUnreadable.Because(err)
	}
	if err := x.Check(content); err != nil {
		return nil, refusal.Of(err).Because(errors.New(x.Name()))
	}
	return content, nil
}

// printLine writes one result of several: a JSON object in a line of its own, or the text.
func (p *program) printLine(v any, text string) error {
	if p.json {
		return json.NewEncoder(p.Stdout).Encode(v)
	}
	_, err := fmt.Fprintln(p.Stdout, text)
	return err
}

func evidenceShow(p *program) *cobra.Command {
	var dir string
	c := leaf("show FILE...", "Read what evidence says, and the words in it; verifies nothing",
		"escrow evidence show threat.jws --exhibits exhibits", cobra.MinimumNArgs(1), func(ctx context.Context, files []string) error {
			for _, file := range files {
				err := p.eachLine(file, func(n int, raw string) error {
					e, err := token.ParseUnverifiedEvidence(raw)
					if err != nil {
						return inOneLine(raw, err)
					}
					s := shown(file, n, raw, e)
					for i, x := range e.Post.Exhibits {
						if dir == "" || x.Type != "text/plain" {
							continue
						}
						content, err := readExhibit(dir, x)
						if err != nil {
							return err
						}
						words := string(content)
						s.Exhibits[i].Text = &words
					}
					if ctx.Err() != nil {
						return ctx.Err()
					}
					return p.printLine(s, s.text())
				})
				if err != nil {
					return err
				}
			}
			if !p.json {
				fmt.Fprintln(p.Stderr, "nothing of this is verified: escrow evidence check does that")
			}
			return nil
		})
	c.Long = "Shows what evidence says: who signed it by their word, the pen name, the post and its\n" +
		"exhibits. FILE has one piece of evidence a line; - is the standard input. With --exhibits the\n" +
		"words of texts are shown too, if they are the ones that were signed. What a terminal would obey\n" +
		"or a reader would not see is written out, as ‹U+202E›. --json prints one object a line, in which\n" +
		"texts are as they were published."
	c.Flags().StringVar(&dir, "exhibits", "", "folder with the exhibits, each named by its SHA-256")
	return c
}

func evidenceSchema(p *program) *cobra.Command {
	return leaf("schema", "Print the form of evidence as JSON Schema", "escrow evidence schema > evidence.schema.json", cobra.NoArgs,
		func(context.Context, []string) error {
			_, err := io.WriteString(p.Stdout, token.EvidenceSchema)
			return err
		})
}
