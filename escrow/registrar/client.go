package registrar

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why a call did not reach the registrar.
var (
	ErrUnreachable = refusal.New(refusal.Unavailable, "server.unreachable",
		"the registrar did not answer, or not with what this program understands: check --server and try again")
	ErrInsecure = refusal.New(refusal.Invalid, "server.insecure",
		"--server must be an https address such as https://penname.example (http only for a sandbox on this machine)")
	ErrOtherAnswer = refusal.New(refusal.Conflict, "server.other_answer",
		"the registrar answered about something else than was asked, and nothing of it was believed: ask again; whoever filed or decided something asks for its status first, because that may have been accepted")
)

// maxAnswer bounds what is read of an answer: a package with 5,000 posts as
// evidence is some 20 MB, a case file names 10,000 pieces and 900 targets with
// their fields.
var maxAnswer = document.Bounds{Bytes: 64 << 20, Values: 200_000, Text: 64 << 20}

// Client asks a registrar. All fields but Progress are required.
type Client struct {
	Server string       // origin of the registrar, "https://penname.example"
	HTTP   *http.Client // see NewHTTP
	Now    func() time.Time

	Progress func(sent, total int64) // is told of each part of a body that is sent, in bytes
}

// FileWarrant files a warrant with its evidence. An answer about another warrant is
// [ErrOtherAnswer].
func (c *Client) FileWarrant(ctx context.Context, s policy.Submission) (CaseStatus, error) {
	st, err := ask[CaseStatus](ctx, c, http.MethodPost, PathWarrants, nil, s)
	if hash := policy.Hash(s.Warrant); err == nil && (st.Case == "" || st.Warrant != hex.EncodeToString(hash[:])) {
		return CaseStatus{}, ErrOtherAnswer
	}
	return st, err
}

// Status says where a case stands. An answer about another case is
// [ErrOtherAnswer]; what it says of this one is the registrar's word alone.
func (c *Client) Status(ctx context.Context, id string) (CaseStatus, error) {
	st, err := ask[CaseStatus](ctx, c, http.MethodGet, Fill(PathWarrant, id), nil, nil)
	if err == nil && st.Case != id {
		return CaseStatus{}, ErrOtherAnswer
	}
	return st, err
}

// Package fetches what a requester opens: one ciphertext to them. Nothing of it is
// checked here, for package requester opens that of one case only.
func (c *Client) Package(ctx context.Context, id string) ([]byte, error) {
	return ask[[]byte](ctx, c, http.MethodGet, Fill(PathPackage, id), nil, nil)
}

// SayDeleted files the requester's statement that what was delivered of a case is deleted.
func (c *Client) SayDeleted(ctx context.Context, id string, d Deletion) (CaseStatus, error) {
	st, err := ask[CaseStatus](ctx, c, http.MethodPost, Fill(PathDeletion, id), nil, d)
	if err == nil && st.Case != id {
		return CaseStatus{}, ErrOtherAnswer
	}
	return st, err
}

// Exhibits says which exhibits of a case are stored. An answer about another case is
// [ErrOtherAnswer].
func (c *Client) Exhibits(ctx context.Context, id string) (Exhibits, error) {
	x, err := ask[Exhibits](ctx, c, http.MethodGet, Fill(PathExhibits, id), nil, nil)
	if err == nil && x.Case != id {
		return Exhibits{}, ErrOtherAnswer
	}
	return x, err
}

// Objections fetches what was objected in a case. An answer about another case is
// [ErrOtherAnswer]; a text that is not the one of its digest is left out.
func (c *Client) Objections(ctx context.Context, id string) ([]opening.Objection, error) {
	x, err := ask[Objections](ctx, c, http.MethodGet, Fill(PathObjections, id), nil, nil)
	if err == nil && x.Case != id {
		return nil, ErrOtherAnswer
	}
	for i, o := range x.Objections {
		if sum := sha256.Sum256(o.Sealed); hex.EncodeToString(sum[:]) != o.Digest {
			x.Objections[i].Sealed = nil
		}
	}
	return x.Objections, err
}

// Coded says what the notice of a one-time code says; the code stays good.
func (c *Client) Coded(ctx context.Context, code string) (policy.Coded, error) {
	return ask[policy.Coded](ctx, c, http.MethodPost, PathNotices, nil, NoticeCode{code})
}

// Object stores an objection, encrypted, with the one-time code of a notice, which is used up.
// An answer about other words is [ErrOtherAnswer].
func (c *Client) Object(ctx context.Context, code string, sealed []byte) (digest string, err error) {
	x, err := ask[Objected](ctx, c, http.MethodPost, PathObject, nil, LawyersObjection{code, sealed})
	if sum := sha256.Sum256(sealed); err == nil && x.Digest != hex.EncodeToString(sum[:]) {
		return "", ErrOtherAnswer
	}
	return x.Digest, err
}

// PutExhibit stores an exhibit that the evidence of a case declares, by the SHA-256 of its
// content: length bytes of ciphertext, as many as exhibit.SealedSize says. It streams. The
// same bytes may be stored again, others never.
func (c *Client) PutExhibit(ctx context.Context, caseID string, digest [32]byte, sealed io.Reader, length int64) error {
	return c.call(ctx, http.MethodPut, Fill(PathExhibit, caseID, hex.EncodeToString(digest[:])), nil, sealedBytes{sealed, length}, nil)
}

// Exhibit fetches the ciphertext of an exhibit. Nothing of it is checked here: whoever
// opens it compares it with the evidence.
func (c *Client) Exhibit(ctx context.Context, caseID string, digest [32]byte) (io.ReadCloser, error) {
	b, err := ask[[]byte](ctx, c, http.MethodGet, Fill(PathExhibit, caseID, hex.EncodeToString(digest[:])), nil, nil)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// PutShortExhibits stores several short exhibits (exhibit.MaxShort, exhibit.MaxTogether) as
// PutExhibit does, all or none. What is stored already stays as it is.
func (c *Client) PutShortExhibits(ctx context.Context, caseID string, sealed map[[32]byte][]byte) error {
	b := JoinExhibits(sealed)
	return c.call(ctx, http.MethodPut, Fill(PathShort, caseID), nil, sealedBytes{bytes.NewReader(b), int64(len(b))}, nil)
}

// ShortExhibits fetches what is stored of several short exhibits, by their digests. Nothing
// of it is checked here, as with Exhibit.
func (c *Client) ShortExhibits(ctx context.Context, caseID string, digests [][32]byte) (map[[32]byte][]byte, error) {
	var of []byte
	for _, d := range digests {
		of = append(of, d[:]...)
	}
	b, err := ask[[]byte](ctx, c, http.MethodGet, Fill(PathShort, caseID)+"?"+ParamOf+"="+base64.RawURLEncoding.EncodeToString(of), nil, nil)
	if err != nil {
		return nil, err
	}
	sealed, ok := SplitExhibits(b)
	if !ok {
		return nil, ErrUnreachable
	}
	return sealed, nil
}

// PutCopy stores what a custodian encrypted again and signed (exhibit.Reseal), to the
// recipient of another. What is stored never changes.
func (c *Client) PutCopy(ctx context.Context, caseID string, digest [32]byte, recipient string, copied []byte) error {
	return c.call(ctx, http.MethodPut, copyPath(caseID, digest, recipient), nil, sealedBytes{bytes.NewReader(copied), int64(len(copied))}, nil)
}

// Copy fetches such a copy. Nothing of it is checked here, for package custodian does.
func (c *Client) Copy(ctx context.Context, caseID string, digest [32]byte, recipient string) ([]byte, error) {
	return ask[[]byte](ctx, c, http.MethodGet, copyPath(caseID, digest, recipient), nil, nil)
}

func copyPath(caseID string, digest [32]byte, recipient string) string {
	to := sha256.Sum256([]byte(recipient))
	return Fill(PathCopy, caseID, hex.EncodeToString(digest[:]), hex.EncodeToString(to[:]))
}

// Cases lists the cases that wait for custodians, from the place in the list that
// [Cases].Next of the page before named; "" is the beginning. key is a custodian's.
func (c *Client) Cases(ctx context.Context, key jose.JSONWebKey, from string) (Cases, error) {
	path := PathCases
	if from != "" {
		path += "?" + url.Values{ParamFrom: {from}}.Encode()
	}
	return ask[Cases](ctx, c, http.MethodGet, path, &key, nil)
}

// Mine lists the cases of an authority that have a date to come, from the place in the list
// that [Cases].Next of the page before named; "" is the beginning. key is that authority's, and
// revocation are the lists of revoked certificates, if it has a certificate.
func (c *Client) Mine(ctx context.Context, key jose.JSONWebKey, authority, from string, revocation []string) (Cases, error) {
	inquiry, err := policy.SignInquiry(key, policy.Inquiry{At: c.Now(), Audience: strings.TrimRight(c.Server, "/"), Authority: authority, ID: rand.Text(), Revocation: revocation})
	if err != nil {
		return Cases{}, err
	}
	path := PathMine
	if from != "" {
		path += "?" + url.Values{ParamFrom: {from}}.Encode()
	}
	return ask[Cases](ctx, c, http.MethodPost, path, nil, Inquiry{inquiry})
}

// CaseFile fetches what a custodian judges. Nothing of it is checked here, for
// package custodian trusts no client. key is a custodian's.
func (c *Client) CaseFile(ctx context.Context, key jose.JSONWebKey, id string) (opening.CaseFile, error) {
	return ask[opening.CaseFile](ctx, c, http.MethodGet, Fill(PathCase, id), &key, nil)
}

// Decide sends a custodian's signed answer, in the case that it names. key is that
// custodian's. An acknowledgement for another case, warrant, leaf or bundle is
// [ErrOtherAnswer].
func (c *Client) Decide(ctx context.Context, key jose.JSONWebKey, decision string) (CaseStatus, error) {
	a, err := opening.ParseApprovalUnverified(decision)
	if err != nil {
		return CaseStatus{}, err
	}
	st, err := ask[CaseStatus](ctx, c, http.MethodPost, Fill(PathDecisions, a.Case), &key, Decision{decision})
	if err == nil && (st.Case != a.Case || st.Warrant != a.WarrantHash || st.Leaf != a.LeafIndex || st.Bundle != a.Bundle) {
		return CaseStatus{}, ErrOtherAnswer
	}
	return st, err
}

// State stores what a custodian signed beside a decision, in the case that it names.
func (c *Client) State(ctx context.Context, key jose.JSONWebKey, statement string) error {
	s, err := opening.ParseStatementUnverified(statement)
	if err != nil {
		return err
	}
	path := PathAbsences
	if s.Kind != opening.Absence {
		path = Fill(PathStatements, s.Case)
	}
	return c.call(ctx, http.MethodPost, path, &key, Statement{statement}, nil)
}

// Said asks for what custodians said in a case, with the inquiry of its court. An answer about
// another case is [ErrOtherAnswer]; who signed what is for opening.VerifyStatement to say.
func (c *Client) Said(ctx context.Context, id, inquiry string) (Said, error) {
	s, err := ask[Said](ctx, c, http.MethodPost, Fill(PathSaid, id), nil, Inquiry{inquiry})
	if err == nil && s.Case != id {
		return Said{}, ErrOtherAnswer
	}
	return s, err
}

// Absences fetches which custodians are away, as they signed it.
func (c *Client) Absences(ctx context.Context) ([]string, error) {
	s, err := ask[Said](ctx, c, http.MethodGet, PathAbsences, nil, nil)
	return s.Absences, err
}

// Bundle fetches the bundle in force. Nothing of it is checked here.
func (c *Client) Bundle(ctx context.Context) (Bundle, error) {
	return ask[Bundle](ctx, c, http.MethodGet, PathBundle, nil, nil)
}

// BundleByHash fetches any bundle that was ever in force, byte for byte, with its
// endorsements. Nothing of it is checked here, not even the hash: it is for
// package verifier/rules.
func (c *Client) BundleByHash(ctx context.Context, hash string) (bundle []byte, endorsements []string, err error) {
	raw, err := c.BundleBytes(ctx, hash)
	if err != nil {
		return nil, nil, err
	}
	e, err := ask[Endorsements](ctx, c, http.MethodGet, Fill(PathEndorsed, hash), nil, nil)
	return raw, e.Endorsements, err
}

// BundleBytes is BundleByHash without the endorsements: for who trusts the hash.
func (c *Client) BundleBytes(ctx context.Context, hash string) ([]byte, error) {
	return ask[json.RawMessage](ctx, c, http.MethodGet, Fill(PathBundles, hash), nil, nil)
}

// behind is the address of the page of records behind a leaf.
func behind(path string, leaf int64) string {
	return path + "?" + url.Values{ParamAfter: {strconv.FormatInt(leaf, 10)}}.Encode()
}

// Platforms fetches the records of all platforms whose leaves are behind one, a page of
// them, and whether there are more; -1 is the beginning. Nothing of them is checked here.
func (c *Client) Platforms(ctx context.Context, after int64) ([]policy.LoggedPlatform, bool, error) {
	p, err := ask[Platforms](ctx, c, http.MethodGet, behind(PathPlatforms, after), nil, nil)
	return p.Records, p.More, err
}

// CeremonyMessages fetches what was said in the ceremony of a plan, given by its
// hash. The board is trusted for nothing: each message is signed.
func (c *Client) CeremonyMessages(ctx context.Context, plan string) (Board, error) {
	return ask[Board](ctx, c, http.MethodGet, Fill(PathMessages, plan), nil, nil)
}

// Say puts a signed message on the board of a ceremony, and returns the board.
func (c *Client) Say(ctx context.Context, plan, message string) (Board, error) {
	return ask[Board](ctx, c, http.MethodPost, Fill(PathMessages, plan), nil, Message{message})
}

// Board returns a function that puts a signed message on the board of a ceremony,
// unless it is empty, and returns all messages that are there.
func (c *Client) Board(plan string) func(ctx context.Context, message string) ([]string, error) {
	return func(ctx context.Context, message string) ([]string, error) {
		if message == "" {
			b, err := c.CeremonyMessages(ctx, plan)
			return b.Messages, err
		}
		b, err := c.Say(ctx, plan, message)
		return b.Messages, err
	}
}

// Transcript fetches the transcript of a ceremony that is over, byte for byte
// what was hashed into the log. That of another plan is [ErrOtherAnswer]; what was
// said is for package ceremony to check.
func (c *Client) Transcript(ctx context.Context, plan string) (json.RawMessage, error) {
	raw, err := ask[json.RawMessage](ctx, c, http.MethodGet, Fill(PathTranscript, plan), nil, nil)
	if err != nil {
		return nil, err
	}
	said, _, err := policy.ParseCeremonyTranscript(raw)
	if err == nil && said.Hash() != plan {
		err = ErrOtherAnswer
	}
	return raw, err
}

func ask[T any](ctx context.Context, c *Client, method, path string, key *jose.JSONWebKey, in any) (out T, err error) {
	err = c.call(ctx, method, path, key, in, &out)
	return out, err
}

// sealedBytes is a body that is no JSON.
type sealedBytes struct {
	io.Reader
	length int64
}

// bodyOf is what is sent of in, and how many bytes.
func bodyOf(in any) (io.Reader, int64, error) {
	switch in := in.(type) {
	case nil:
		return http.NoBody, 0, nil
	case sealedBytes:
		return in.Reader, in.length, nil
	}
	b, err := json.Marshal(in)
	return bytes.NewReader(b), int64(len(b)), err
}

// call sends one request. in is nil for GET, or sealedBytes, or is sent as JSON; key, if not nil, signs the request
// as a custodian (DPoP, RFC 9449). out is what the JSON of the answer is read into,
// or a *[]byte for an answer that is none, or nil for one without content. A refusal of the registrar is a [*Problem];
// no answer, or one that is not understood, is [ErrUnreachable].
func (c *Client) call(ctx context.Context, method, path string, key *jose.JSONWebKey, in, out any) error {
	base, err := url.Parse(c.Server)
	if err != nil || !document.Secure(base, document.Localhost) {
		return ErrInsecure
	}
	address := strings.TrimRight(c.Server, "/") + path
	body, length, err := bodyOf(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return ErrUnreachable.Because(err)
	}
	_, isBytes := in.(sealedBytes)
	if req.ContentLength = length; c.Progress != nil && length > 0 && !isBytes {
		req.Body = io.NopCloser(&counted{Reader: req.Body, total: length, tell: c.Progress})
	}
	req.Header.Set("Accept", "application/json")
	switch {
	case isBytes:
		req.Header.Set("Content-Type", "application/octet-stream")
	case in != nil:
		req.Header.Set("Content-Type", "application/json")
	}
	if key != nil {
		htu, _, _ := strings.Cut(address, "?") // RFC 9449, 4.2: "without query and fragment parts"
		proof, err := token.SignDPoP(*key, method, htu, "", "", c.Now())
		if err != nil {
			return err
		}
		req.Header.Set("DPoP", proof)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return ErrUnreachable.Because(err)
	}
	defer res.Body.Close()
	sealed, isSealed := out.(*[]byte)
	bounds := maxAnswer
	if isSealed {
		bounds.Values, bounds.Text = math.MaxInt, math.MaxInt // no JSON
	}
	b, err := io.ReadAll(bounds.Reader(res.Body))
	if err != nil {
		return ErrUnreachable.Because(err)
	}
	if res.StatusCode >= 400 {
		said := &Problem{}
		if json.Unmarshal(b, said) != nil || said.Code == "" {
			return ErrUnreachable.Because(fmt.Errorf("status %d without a problem document", res.StatusCode))
		}
		said.Type = "" // says again what the code says
		return said
	}
	if res.StatusCode >= 300 {
		return ErrUnreachable.Because(fmt.Errorf("status %d", res.StatusCode))
	}
	if isSealed {
		*sealed = b
		return nil
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return ErrUnreachable.Because(err)
	}
	return nil
}
