package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/verifier/document"
)

const (
	maxPostURL  = 2 << 10 // bytes
	maxPlatform = 256     // characters of its client_id
	maxExhibits = 32
	maxVersion  = 1_000_000 // of the format: what is more was never meant as one
)

// What is wrong with the post of evidence that is malformed, for who makes it.
var (
	errPostURL      = errors.New("url: it must be in ASCII (%C3%A9 for é), begin with http:// or https://, name nobody before an @, and have at most 2048 characters")
	errPostTime     = errors.New("at: it must be after the first second of 1970")
	errExhibitTwice = errors.New("exhibits: the same bytes are there twice; name each once")
	errManyExhibits = errors.New("exhibits: there are more than 32; leave out what does not matter")
	errPlatform     = errors.New("iss: this is no client id of a platform")
)

// firstEvidence is the payload of version 1, in this order and without white space, so
// that one statement has one spelling.
type firstEvidence struct {
	Iss   string `json:"iss"`
	Iat   int64  `json:"iat"`
	Token string `json:"token"`
	Proof string `json:"dpop,omitempty"`
	Post  struct {
		URL    string `json:"url"`
		SHA256 string `json:"sha256"`
		At     int64  `json:"at"`
	} `json:"post"`
}

func (e Evidence) first() firstEvidence {
	p := firstEvidence{Iss: e.Platform, Iat: e.At.Unix(), Token: e.Token, Proof: e.Proof}
	p.Post.URL, p.Post.SHA256, p.Post.At = e.Post.URL, base64.RawURLEncoding.EncodeToString(e.Post.Digest[:]), e.Post.At.Unix()
	return p
}

// secondEvidence is the payload of version 2 as it is written here. Others may spell it in
// any way that means the same: testdata/evidence.schema.json.
type secondEvidence struct {
	Version int        `json:"version"`
	Iss     string     `json:"iss"`
	Iat     int64      `json:"iat"`
	Token   string     `json:"token"`
	Proof   string     `json:"dpop,omitempty"`
	Post    secondPost `json:"post"`
}

type secondPost struct {
	URL      string          `json:"url"`
	At       int64           `json:"at"`
	Exhibits []secondExhibit `json:"exhibits"`
	Suggests []string        `json:"author_suggests,omitempty"`
}

type secondExhibit struct {
	Type   string `json:"type"`
	SHA256 string `json:"sha256"` // hex, as tools print it and folders name it
	Length int64  `json:"length"`
}

func (e Evidence) second() secondEvidence {
	p := secondEvidence{Version: e.Version, Iss: e.Platform, Iat: e.At.Unix(), Token: e.Token, Proof: e.Proof}
	p.Post = secondPost{URL: e.Post.URL, At: e.Post.At.Unix(), Exhibits: make([]secondExhibit, len(e.Post.Exhibits)), Suggests: e.Post.AuthorSuggests}
	for i, x := range e.Post.Exhibits {
		p.Post.Exhibits[i] = secondExhibit{x.Type, x.Name(), x.Length}
	}
	return p
}

// parseEvidence reads a payload of any version; version 1 does not name itself.
func parseEvidence(payload []byte) (*Evidence, error) {
	if err := document.CheckJSON(payload); err != nil {
		return nil, evidenceFormat.Refuse(err)
	}
	written := document.Value(bytes.TrimSpace(payload))
	var version document.Value
	written.Object(func(name string, v document.Value) bool {
		if name == "version" {
			version = v
		}
		return version == ""
	})
	if version == "" {
		return parseFirst(payload)
	}
	switch n, ok := wholeNumber(version, maxVersion); {
	case !ok || n < EvidenceVersion:
		return nil, ErrEvidenceMalformed
	case n > EvidenceVersion:
		return nil, ErrEvidenceVersion
	}
	return parseSecond(written)
}

// parseFirst refuses a payload that first would give in any other way: unknown
// members, another order or spelling.
func parseFirst(payload []byte) (*Evidence, error) {
	var p firstEvidence
	var e *Evidence
	err := document.ReadExactly(payload, &p, func() (_ []byte, err error) {
		if e, err = p.evidence(); err != nil {
			return nil, err
		}
		return e.marshal()
	})
	if err != nil {
		return nil, ErrEvidenceMalformed.Because(err)
	}
	return e, nil
}

func (p *firstEvidence) evidence() (*Evidence, error) {
	digest, err := document.DecodeBase64(p.Post.SHA256)
	if err != nil || len(digest) != 32 || p.Iss == "" || p.Token == "" || len(p.Post.URL) > maxPostURL {
		return nil, ErrEvidenceMalformed
	}
	if u, err := url.Parse(p.Post.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, ErrEvidenceMalformed
	}
	if p.Post.At <= 0 || p.Iat < p.Post.At || p.Iat > document.LastSecond {
		return nil, ErrEvidenceMalformed
	}
	e := &Evidence{Version: 1, Platform: p.Iss, Token: p.Token, Proof: p.Proof, At: time.Unix(p.Iat, 0).UTC()}
	e.Post = Post{URL: p.Post.URL, Digest: [32]byte(digest), At: time.Unix(p.Post.At, 0).UTC()}
	return e, nil
}

// parseSecond refuses a payload for what it means, never for how it is spelled: a member that is
// unknown, absent, null or of another type. What is repeated, [document.CheckJSON] found.
func parseSecond(payload document.Value) (*Evidence, error) {
	e := &Evidence{Version: EvidenceVersion}
	post := document.Value("{}")
	known := payload.Object(func(name string, v document.Value) (ok bool) {
		switch name {
		case "version": // read before
			ok = true
		case "iss":
			e.Platform, ok = v.Text()
		case "iat":
			e.At, ok = second(v)
		case "token":
			e.Token, ok = v.Text()
		case "dpop":
			e.Proof, ok = v.Text()
			ok = ok && e.Proof != ""
		case "post":
			post, ok = v, true
		}
		return ok
	})
	if !known || e.Token == "" {
		return nil, ErrEvidenceMalformed
	}
	if e.Platform == "" || !document.Displayable(e.Platform, maxPlatform) {
		return nil, ErrEvidenceMalformed.Because(errPlatform)
	}
	if err := e.Post.read(post); err != nil {
		return nil, err
	}
	if e.At.Before(e.Post.At) {
		return nil, ErrEvidenceMalformed
	}
	return e, nil
}

func (p *Post) read(post document.Value) error {
	exhibits := document.Value("[]")
	known := post.Object(func(name string, v document.Value) (ok bool) {
		switch name {
		case "url":
			p.URL, ok = v.Text()
		case "at":
			p.At, ok = second(v)
		case "exhibits":
			exhibits, ok = v, true
		case "author_suggests":
			ok = v.Array(p.suggests) && len(p.AuthorSuggests) > 0
		}
		return ok
	})
	switch {
	case !known:
		return ErrEvidenceMalformed
	case !isPostURL(p.URL):
		return ErrEvidenceMalformed.Because(errPostURL)
	case p.At.IsZero():
		return ErrEvidenceMalformed.Because(errPostTime)
	}
	var refused error
	isList := exhibits.Array(func(v document.Value) bool {
		var x Exhibit
		if x, refused = readExhibit(v); refused != nil {
			return false
		}
		switch {
		case len(p.Exhibits) == maxExhibits:
			refused = ErrEvidenceMalformed.Because(errManyExhibits)
		case slices.ContainsFunc(p.Exhibits, func(other Exhibit) bool { return other.Digest == x.Digest }):
			refused = ErrEvidenceMalformed.Because(errExhibitTwice)
		}
		if refused != nil {
			return false
		}
		p.Exhibits = append(p.Exhibits, x)
		return true
	})
	switch {
	case refused != nil:
		return refused
	case !isList:
		return ErrEvidenceMalformed
	case len(p.Exhibits) == 0:
		return ErrNoContent
	}
	return nil
}

// suggests reads one word of what the account suggests.
func (p *Post) suggests(v document.Value) bool {
	word, ok := v.Text()
	if !ok || word != AuthorJournalist && word != AuthorPrivileged || slices.Contains(p.AuthorSuggests, word) {
		return false
	}
	p.AuthorSuggests = append(p.AuthorSuggests, word)
	return true
}

func readExhibit(v document.Value) (x Exhibit, err error) {
	var sum string
	known := v.Object(func(name string, v document.Value) (ok bool) {
		switch name {
		case "type":
			x.Type, ok = v.Text()
		case "sha256":
			sum, ok = v.Text()
		case "length":
			x.Length, ok = wholeNumber(v, document.LastSecond)
		}
		return ok
	})
	digest, err := hex.DecodeString(sum)
	if !known || err != nil || len(digest) != len(x.Digest) || sum != strings.ToLower(sum) || x.Type == "" || x.Length < 0 {
		return Exhibit{}, ErrEvidenceMalformed
	}
	x.Digest = [32]byte(digest)
	return x, x.allowed()
}

// isPostURL keeps to what RFC 3986 writes, which is ASCII: a URL that turns round or looks
// like another one is none. A user's name before the host would pass for it.
func isPostURL(s string) bool {
	if len(s) > maxPostURL || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Hostname() != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http")
}

// second reads a time in whole seconds since 1970, and after its first.
func second(v document.Value) (time.Time, bool) {
	n, ok := wholeNumber(v, document.LastSecond)
	return time.Unix(n, 0).UTC(), ok && n > 0
}

// wholeNumber reads a JSON number that is written in digits alone, up to most.
func wholeNumber(v document.Value, most int64) (int64, bool) {
	n, err := strconv.ParseUint(string(v), 10, 63)
	return int64(n), err == nil && int64(n) <= most
}
