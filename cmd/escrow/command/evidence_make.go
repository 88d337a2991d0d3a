package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var errPost = refusal.New(refusal.Invalid, "evidence.bad_post", "This is not a post that evidence can be made of. It has token, url, at (as 2026-11-29T07:00:00Z) and exhibits, each with type and either text or file; perhaps dpop and author_suggests (journalist, privileged); nothing else. In --posts that is one JSON object a line.")

// post is one line of --posts: what a platform kept when somebody published it.
type post struct {
	Token    string    `json:"token"`
	Proof    string    `json:"dpop"`
	URL      string    `json:"url"`
	At       time.Time `json:"at"`
	Exhibits []piece   `json:"exhibits"`
	Suggests []string  `json:"author_suggests"`
}

// piece is what was published, or one part of it.
type piece struct {
	Type string `json:"type"`
	Text string `json:"text"`
	File string `json:"file"` // - is the standard input
}

// makeFlags are what evidence is made of.
type makeFlags struct {
	signerFlags
	platform, posts, token, proof, exhibits, mediaType string
	one                                                post
	at                                                 string
	out                                                shell.Out
	last                                               made // what was signed last
}

func evidenceMake(p *program) *cobra.Command {
	var f makeFlags
	c := leaf("make [FILE...]", "Sign evidence of a post, or of many, as the platform",
		"escrow evidence make post.txt picture.png --url https://town.example/p/17 --at 2026-11-29T07:00:00Z --token token.jwt --platform town-square --key evidence.jwk --exhibits exhibits --out threat.jws\n"+
			"  escrow evidence make --posts posts.jsonl --platform town-square --key evidence.jwk --exhibits exhibits --out threats.jws",
		cobra.ArbitraryArgs, func(ctx context.Context, files []string) error {
			if err := require([2]string{"platform", f.platform}); err != nil {
				return err
			}
			key, err := f.signer(ctx)
			if err != nil {
				return err
			}
			var written io.Writer
			var kept bytes.Buffer // of --out: evidence is small, its exhibits are not in it
			if f.out.File != "" {
				written = &kept
			}
			if f.posts != "" {
				err = f.makeAll(ctx, p, key, files, written)
			} else {
				err = f.makeOne(p, key, files, written)
			}
			if err != nil || f.out.File == "" {
				return err
			}
			b := kept.Bytes()
			if bytes.Count(b, []byte("\n")) == 1 {
				b = bytes.TrimSuffix(b, []byte("\n")) // so that sha256sum gives what a warrant names
			}
			if err := f.out.WritePrivate(b); err != nil || f.posts != "" {
				return err
			}
			return p.printLine(f.last, "signed: "+f.out.File+", sha256 "+f.last.SHA256+"\nNext: "+f.check())
		})
	c.Long = "Signs, as the platform, that what is in the files was published under a pen name. Each FILE is\n" +
		"one exhibit, whose type its name says (.txt .png .jpg .gif .webp .pdf .mp3 .m4a .ogg .wav .mp4 .webm)\n" +
		"or --type; - is a text from the standard input. --token is the file with the ID token or access token\n" +
		"as the author presented it.\n\n" +
		"--posts makes one piece of evidence of each line of a file, which is not read as a whole. A line, here\nbroken in two:\n\n" +
		`  {"token":"eyJ…","url":"https://town.example/p/17","at":"2026-11-29T07:00:00Z",` + "\n" +
		`   "exhibits":[{"type":"text/plain","text":"…"},{"type":"image/png","file":"picture.png"}]}` + "\n\n" +
		"--exhibits keeps what was published, each exhibit under its SHA-256: custodians must read it, so keep it\n" +
		"as long as the evidence. Nothing is verified here: escrow evidence check does that."
	f.signerFlags.add(c)
	c.Flags().StringVar(&f.platform, "platform", "", "client id of the platform, as its tokens name it")
	c.Flags().StringVar(&f.posts, "posts", "", "file of posts, one JSON object a line; - is standard input")
	c.Flags().StringVar(&f.token, "token", "", "file with the author's token, as presented")
	c.Flags().StringVar(&f.proof, "dpop", "", "file with the DPoP proof that came with the post, if one did")
	c.Flags().StringVar(&f.one.URL, "url", "", "address of the post")
	c.Flags().StringVar(&f.at, "at", "", "when it was published, for example 2026-11-29T07:00:00Z; without it: now")
	c.Flags().StringVar(&f.mediaType, "type", "", "media type of a FILE whose name does not say it, for example text/plain")
	c.Flags().StringSliceVar(&f.one.Suggests, "author-suggests", nil, "what the account suggests that its holder is, where the platform knows: journalist, privileged (lawyer, doctor, cleric, member of parliament …)")
	c.Flags().StringVar(&f.exhibits, "exhibits", "", "folder to keep the exhibits in; it is made if it is not there")
	f.out.Flags(c, "", "file to write the evidence to, instead of printing it")
	return c
}

// makeOne makes evidence of the post that the flags say.
func (f *makeFlags) makeOne(p *program, key jose.JSONWebKey, files []string, written io.Writer) error {
	if err := require([2]string{"token", f.token}, [2]string{"url", f.one.URL}); err != nil {
		return err
	}
	if len(files) == 0 {
		return shell.UsageError("name a FILE with what was published, - for standard input, or --posts")
	}
	f.one.At = p.Now()
	if f.at != "" {
		var err error
		if f.one.At, err = time.Parse(time.RFC3339, f.at); err != nil {
			return shell.UsageError("--at is a time such as 2026-11-29T07:00:00Z")
		}
	}
	raw, err := p.readFile(f.token)
	if err != nil {
		return err
	}
	f.one.Token = string(document.Typed(raw))
	if f.proof != "" {
		if raw, err = p.readFile(f.proof); err != nil {
			return err
		}
		f.one.Proof = string(document.Typed(raw))
	}
	for _, name := range files {
		mediaType := f.typeOf(name)
		if mediaType == "" {
			return token.ErrExhibitType.Because(fmt.Errorf("%s: the name says no type that is taken; if the bytes are of one, say it, for example --type text/plain", name))
		}
		f.one.Exhibits = append(f.one.Exhibits, piece{Type: mediaType, File: name})
	}
	return f.make(p, key, f.one, written)
}

// makeAll makes evidence of each line of --posts.
func (f *makeFlags) makeAll(ctx context.Context, p *program, key jose.JSONWebKey, files []string, written io.Writer) error {
	if len(files) > 0 || f.token != "" || f.proof != "" || f.one.URL != "" || f.at != "" || len(f.one.Suggests) > 0 {
		return shell.UsageError("--posts says all of each post: leave out FILE, --token, --dpop, --url, --at and --author-suggests")
	}
	made := 0
	return p.eachLine(f.posts, func(_ int, line string) error {
		one, err := readPost(line)
		if err != nil {
			return err
		}
		if made++; made%500 == 0 {
			p.progress("made %d\n", made)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return f.make(p, key, *one, written)
	})
}

func readPost(line string) (*post, error) {
	if err := document.CheckJSON([]byte(line)); err != nil {
		return nil, errPost.Because(err)
	}
	one := &post{}
	dec := json.NewDecoder(strings.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(one); err != nil {
		return nil, errPost // a decoder's error quotes the line
	}
	for _, x := range one.Exhibits {
		if (x.Text == "") == (x.File == "") || x.File == "-" { // the posts may come from there
			return nil, errPost
		}
	}
	if one.Token == "" || one.At.IsZero() {
		return nil, errPost
	}
	return one, nil
}

// make signs evidence of one post and prints it, or adds it to written.
func (f *makeFlags) make(p *program, key jose.JSONWebKey, one post, written io.Writer) error {
	e := token.Evidence{Platform: f.platform, Token: one.Token, Proof: one.Proof, Post: token.Post{URL: one.URL, At: one.At.UTC().Truncate(time.Second), AuthorSuggests: one.Suggests}}
	for _, one := range one.Exhibits {
		x, err := f.keepPiece(p, one)
		if err != nil {
			return err
		}
		e.Post.Exhibits = append(e.Post.Exhibits, x)
	}
	e.At = p.Now()
	if e.At.Before(e.Post.At) {
		e.At = e.Post.At // clocks differ by seconds
	}
	signed, err := token.SignEvidence(key, e)
	if errors.Is(err, token.ErrEvidenceMalformed) { // which speaks to whom evidence is handed
		return errPost.Because(refusal.Of(err).Unwrap())
	}
	if err != nil {
		return err
	}
	s := shown("", 0, signed, &e)
	f.last = made{s.SHA256, signed, s.Exhibits}
	if written != nil { // it is said when the file is there
		_, err := io.WriteString(written, signed+"\n")
		return err
	}
	return p.printLine(f.last, signed)
}

// check is the command that checks what was made.
func (f *makeFlags) check() string {
	line := "escrow evidence check " + f.out.File
	if f.exhibits != "" {
		line += " --exhibits " + f.exhibits
	}
	if f.public != "" {
		return line + " --platform-keys " + f.public + " --issuer …"
	}
	return line + " --issuer … --platform-keys …, a file with the public half of " + f.key
}

// made is what make says of each piece of evidence with --json.
type made struct {
	SHA256   string         `json:"sha256"`
	Evidence string         `json:"evidence"`
	Exhibits []shownExhibit `json:"exhibits"`
}

// extensions say the type of a file.
var extensions = map[string]string{
	".txt": "text/plain", ".pdf": "application/pdf", ".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp",
	".m4a": "audio/mp4", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav", ".mp4": "video/mp4", ".webm": "video/webm",
}

// typeOf is the type that a file's name says, else that of --type.
func (f *makeFlags) typeOf(name string) string {
	if known := extensions[strings.ToLower(filepath.Ext(name))]; known != "" {
		return known
	}
	if name == "-" {
		return cmp.Or(f.mediaType, "text/plain")
	}
	return f.mediaType
}

// keepPiece is keep of what a post names.
func (f *makeFlags) keepPiece(p *program, one piece) (token.Exhibit, error) {
	if one.File == "" {
		return f.keep(one.Type, strings.NewReader(one.Text))
	}
	in, err := p.open(one.File)
	if err != nil {
		return token.Exhibit{}, err
	}
	defer in.Close()
	x, err := f.keep(one.Type, in)
	if err != nil && refusal.Of(err) == nil {
		err = secretfile.ErrUnreadable.Because(err)
	}
	return x, shell.InFile(one.File, 0, err)
}

// keep reads an exhibit, and writes it to the folder if there is one.
func (f *makeFlags) keep(mediaType string, content io.Reader) (token.Exhibit, error) {
	if f.exhibits == "" {
		return token.NewExhibit(mediaType, content)
	}
	if err := os.MkdirAll(f.exhibits, 0o700); err != nil {
		return token.Exhibit{}, secretfile.ErrUnwritable.Because(err)
	}
	part, err := os.CreateTemp(f.exhibits, ".part-*")
	if err != nil {
		return token.Exhibit{}, secretfile.ErrUnwritable.Because(err)
	}
	defer os.Remove(part.Name()) // it has another name by then, if all went well
	x, err := token.NewExhibit(mediaType, io.TeeReader(content, part))
	if cerr := part.Close(); err == nil && cerr != nil {
		err = secretfile.ErrUnwritable.Because(cerr)
	}
	if err != nil {
		return token.Exhibit{}, err
	}
	if err := os.Rename(part.Name(), filepath.Join(f.exhibits, x.Name())); err != nil {
		return token.Exhibit{}, secretfile.ErrUnwritable.Because(err)
	}
	return x, nil
}
