// Package court is the disclosing side over HTTP: what package registrar
// describes, for courts, requesters, custodians and whoever reads the public log.
package court

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/token"
)

// Config is what the disclosing side is served with. All fields are required.
type Config struct {
	Registrar *disclose.Registrar
	Board     *disclose.Board
	SingleUse token.ReplayGuard // custodians' requests are single-use
	LogTiles  http.Handler      // translog.Publisher.Handler
}

// What the routes take. The formats are narrower, so that what is a little too
// much gets the refusal that says which part is.
var (
	// A warrant against 600 pen names with 5,000 posts, some 2 KB of evidence each.
	filing   = document.Bounds{Bytes: 16 << 20, Values: 20_000, Text: 2 << 20}
	decision = document.Bounds{Bytes: 4<<20 + 16<<10, Values: 16, Text: 4<<20 + 8<<10} // shares of 900 targets
	sealed   = document.Bounds{Bytes: 21 << 20, Values: math.MaxInt, Text: 21 << 20}   // an exhibit, encrypted; no JSON
	together = document.Bounds{Bytes: 9 << 20, Values: math.MaxInt, Text: 9 << 20}     // short exhibits; no JSON
	message  = document.Bounds{Bytes: 32 << 10, Values: 16, Text: 24 << 10}

	inquiry   = document.Bounds{Bytes: 3<<20 + 4<<10, Values: 64, Text: 3 << 20} // with certificates and lists of revoked ones
	ofCode    = document.Bounds{Bytes: 1 << 10, Values: 4, Text: 256}
	objection = document.Bounds{Bytes: 180 << 10, Values: 8, Text: 176 << 10} // policy.MaxObjection in base64

	statement = document.Bounds{Bytes: 32 << 10, Values: 16, Text: 16 << 10} // 4,000 characters
)

// exhibits is how fast one sender may store exhibits: a case can have thousands.
var exhibits = web.Rate{PerSecond: 200, AtOnce: 400}

// codes is how often one sender may try a code, of which there are more than 2^128.
var codes = web.Rate{PerSecond: 0.1, AtOnce: 10}

// side is the disclosing side behind an edge.
type side struct {
	Config
	edge       *web.Server
	delivering chan struct{} // holds a token for each package in memory
	reading    chan struct{} // holds a token for each case in memory whose status is asked for
}

// take waits for a place in a channel of tokens.
func take(ctx context.Context, tokens chan<- struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deliveries is how many packages are in memory at a time. One is large: 600
// targets with 5,000 posts in evidence are 20 MB, and sealing that takes 150 MB
// (BenchmarkDeliver).
const deliveries = 2

// readings is how many cases are in memory at a time to say where they stand: one is as
// large as what was filed.
const readings = 8

// Mount serves the disclosing side, the message board included.
func Mount(edge *web.Server, c Config) {
	s := &side{Config: c, edge: edge, delivering: make(chan struct{}, deliveries), reading: make(chan struct{}, readings)}
	edge.Handle(http.MethodGet, registrar.PathBundle, web.NoBody, web.Rate{}, s.bundle)
	edge.Handle(http.MethodGet, registrar.PathBundles, web.NoBody, web.Rate{}, s.bundleByHash)
	edge.Handle(http.MethodGet, registrar.PathEndorsed, web.NoBody, web.Rate{}, s.endorsements)
	edge.Handle(http.MethodGet, registrar.PathPlatforms, web.NoBody, web.Rate{}, s.platforms)
	edge.Handle(http.MethodGet, registrar.PathPlatform, web.NoBody, web.Rate{}, s.platform)
	edge.Handle(http.MethodPost, registrar.PathWarrants, filing, web.Filing, s.fileWarrant)
	edge.Handle(http.MethodGet, registrar.PathWarrant, web.NoBody, web.Rate{}, s.warrantStatus)
	edge.Handle(http.MethodGet, registrar.PathPackage, web.NoBody, web.Rate{}, s.warrantPackage)
	edge.WaitsForOthers(registrar.PathPackage) // for its turn among deliveries
	edge.Handle(http.MethodPost, registrar.PathDeletion, statement, web.Filing, s.stateDeletion)
	edge.Handle(http.MethodGet, registrar.PathExhibits, web.NoBody, web.Rate{}, s.exhibits)
	edge.Handle(http.MethodPut, registrar.PathExhibit, sealed, exhibits, s.putExhibit)
	edge.Handle(http.MethodGet, registrar.PathExhibit, web.NoBody, web.Rate{}, edge.Weighing(s.exhibit))
	edge.Handle(http.MethodPut, registrar.PathShort, together, exhibits, s.putShortExhibits)
	edge.Handle(http.MethodGet, registrar.PathShort, web.NoBody, web.Rate{}, edge.Weighing(s.shortExhibits))
	edge.Handle(http.MethodPut, registrar.PathCopy, sealed, exhibits, s.putCopy)
	edge.Handle(http.MethodGet, registrar.PathCopy, web.NoBody, web.Rate{}, edge.Weighing(s.copy))
	edge.Handle(http.MethodPost, registrar.PathMine, inquiry, web.Filing, s.mine)
	edge.Handle(http.MethodGet, registrar.PathObjections, web.NoBody, web.Rate{}, edge.Weighing(s.objections))
	edge.Handle(http.MethodPost, registrar.PathNotices, ofCode, codes, s.coded)
	edge.Handle(http.MethodPost, registrar.PathObject, objection, codes, s.object)
	edge.Handle(http.MethodGet, registrar.PathCases, web.NoBody, web.Rate{}, s.custodian(s.waitingCases))
	edge.Handle(http.MethodGet, registrar.PathCase, web.NoBody, web.Rate{}, s.custodian(s.weighed(s.reviewCase)))
	edge.Handle(http.MethodPost, registrar.PathDecisions, decision, web.Filing, s.custodian(s.decideCase))
	edge.Handle(http.MethodPost, registrar.PathStatements, statement, web.Filing, s.custodian(func(w http.ResponseWriter, r *http.Request, _ seat) error {
		return s.say(w, r, func(signed string) error {
			return s.Registrar.Say(r.Context(), r.PathValue(registrar.ParamCase), signed)
		})
	}))
	edge.Handle(http.MethodPost, registrar.PathAbsences, statement, web.Filing, s.custodian(func(w http.ResponseWriter, r *http.Request, _ seat) error {
		return s.say(w, r, func(signed string) error { return s.Registrar.Announce(r.Context(), signed) })
	}))
	edge.Handle(http.MethodGet, registrar.PathAbsences, web.NoBody, web.Rate{}, s.absences)
	edge.Handle(http.MethodPost, registrar.PathSaid, inquiry, web.Filing, s.said)
	edge.Handle(http.MethodGet, registrar.PathLog+"/*", web.NoBody, web.Rate{}, func(w http.ResponseWriter, r *http.Request) error {
		http.StripPrefix(registrar.PathLog, s.LogTiles).ServeHTTP(w, r)
		return nil
	})
	MountBoard(edge, c.Board)
}

// bundle is byte for byte what was endorsed: its hash is its address.
func (s *side) bundle(w http.ResponseWriter, r *http.Request) error {
	raw, endorsements, err := s.Registrar.Rules.Bundles.Current(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, registrar.Bundle{Bundle: raw, Endorsements: endorsements})
}

// bundleByHash serves the bytes whose hash is the address: they never change.
func (s *side) bundleByHash(w http.ResponseWriter, r *http.Request) error {
	hash := r.PathValue(registrar.ParamHash)
	raw, err := s.Registrar.Rules.Bytes(r.Context(), hash)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("ETag", `"`+hash+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(raw)) // answers If-None-Match
	return nil
}

func (s *side) endorsements(w http.ResponseWriter, r *http.Request) error {
	_, endorsements, err := s.Registrar.Rules.Bundles.Bundle(r.Context(), r.PathValue(registrar.ParamHash))
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, registrar.Endorsements{Endorsements: endorsements})
}

// platforms serves a page of the registry.
func (s *side) platforms(w http.ResponseWriter, r *http.Request) error { return s.records(w, r, "") }

// platform serves a page of the records of one.
func (s *side) platform(w http.ResponseWriter, r *http.Request) error {
	return s.records(w, r, r.PathValue(registrar.ParamPlatform))
}

// The most records of platforms that one answer has, of some 2 KB each, and the most bytes
// of them, but for a record that has more: 256 KiB, and 16 countersignatures of as many.
const (
	recordsAtOnce     = 100
	recordBytesAtOnce = 8 << 20
)

func (s *side) records(w http.ResponseWriter, r *http.Request, id string) error {
	after := int64(-1)
	if text := r.URL.Query().Get(registrar.ParamAfter); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			return disclose.ErrCursor
		}
	}
	page, more, err := s.Registrar.Registry.After(r.Context(), after, id, recordsAtOnce, recordBytesAtOnce)
	switch {
	case err != nil:
		return err
	case id != "" && after < 0 && len(page) == 0:
		return disclose.ErrUnknownPlatform
	}
	return writeRecords(w, r, registrar.Platforms{Records: page, More: more})
}

// writeRecords writes what grows and never changes: whoever asks again within a minute
// may be answered by a cache, and then by If-None-Match.
func writeRecords(w http.ResponseWriter, r *http.Request, p registrar.Platforms) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	return nil
}

// listed is what a list says of a case, to custodians.
func listed(c disclose.Summary) registrar.CaseStatus {
	next := c.Next()
	return registrar.CaseStatus{Case: c.ID, State: string(c.State), Approvals: c.Approved, Declined: c.Declined, Decided: c.Decided(), Quorum: c.Quorum,
		Leaf: c.Leaf, Bundle: c.Bundle, SecrecyEnd: c.SecrecyEnds, Expires: c.Expires,
		Kind: c.Kind, Authority: c.Authority, PenNames: c.Targets, Next: &next}
}

// countsOf is what whoever knows the id of a case may learn.
func countsOf(c disclose.Case) registrar.CaseStatus {
	sum := c.Summary()
	st := registrar.CaseStatus{Case: c.ID, State: string(c.State), Approvals: sum.Approved, Declined: sum.Declined, Decided: sum.Decided(), Quorum: c.Quorum,
		Deadlines: c.Deadlines(), SuspendedUntil: c.SuspendedUntil()}
	if !policy.KindOf(c.Kind).Decided {
		st.Quorum = 0
	}
	for _, t := range c.Targets {
		st.Targets = append(st.Targets, registrar.TargetStatus{TargetState: opening.TargetState{State: string(t.State), Code: t.Code}})
	}
	switch why := c.Barred(); {
	case why == registrar.BarredLapsed:
		st.Barred = &registrar.Barred{Why: why, Leaf: c.LapsedLeaf}
	case why != "":
		st.Barred = &registrar.Barred{Why: why, Leaf: c.Annulments[0]}
	}
	if d := c.Deletion; d != nil {
		st.Deleted = &registrar.Deleted{Statement: d.Said, Leaf: d.Leaf}
	}
	return st
}

// answerOf is countsOf for somebody who knows the warrant. The answer names it, so
// that they can tell that it answers their question.
func answerOf(c disclose.Case) registrar.CaseStatus {
	st := countsOf(c)
	st.Leaf, st.Bundle, st.SecrecyEnd, st.Expires = c.RecordedLeaf, c.Bundle, c.SecrecyEnds, c.Expires
	st.Warrant = hex.EncodeToString(c.WarrantHash[:])
	return st
}

// refusedIn says of each target of a decision why it is refused, if it is; nothing of one that
// was not decided by targets.
func refusedIn(d policy.Decision) []registrar.TargetStatus {
	all := make([]registrar.TargetStatus, len(d.Targets))
	for i, t := range d.Targets {
		if t.Refusal != nil {
			all[i] = registrar.TargetStatus{TargetState: opening.TargetState{State: string(disclose.TargetRefused), Code: t.Refusal.Code}, Mend: t.Refusal.Mend}
		}
	}
	return all
}

func (s *side) fileWarrant(w http.ResponseWriter, r *http.Request) error {
	var sub policy.Submission
	if err := web.ReadJSON(r, &sub); err != nil {
		return err
	}
	filed, decision, err := s.Registrar.File(r.Context(), sub)
	if err != nil {
		facts := web.WithFacts{Err: err}
		if !decision.Allowed {
			facts.Grounds, facts.Targets = registrar.GroundsOf(decision), refusedIn(decision)
		}
		if facts.Grounds != nil { // else no rule has refused it
			facts.Rules = decision.Rules
		}
		var wait *policy.WaitError
		if errors.As(err, &wait) {
			facts.From = wait.From
		}
		return facts
	}
	st := answerOf(filed)
	st.Rules, st.OverDaily = decision.Rules, decision.OverDaily
	if hash, err := hex.DecodeString(decision.Warrant.Earlier); err == nil && len(hash) == 32 && policy.KindOf(filed.Kind).Earlier {
		earlier, err := s.Registrar.Cases.Earlier(r.Context(), [32]byte(hash))
		if err != nil {
			return err
		}
		about := countsOf(earlier)
		st.About = &about
	}
	for i, t := range refusedIn(decision) {
		if i < len(st.Targets) && st.Targets[i].Code == t.Code {
			st.Targets[i].Mend = t.Mend
		}
	}
	return web.WriteJSON(w, http.StatusCreated, st)
}

func (s *side) warrantStatus(w http.ResponseWriter, r *http.Request) error {
	if err := take(r.Context(), s.reading); err != nil {
		return err
	}
	defer func() { <-s.reading }()
	found, stopped, err := s.Registrar.Status(r.Context(), r.PathValue(registrar.ParamCase))
	if err != nil {
		return err
	}
	st := countsOf(found)
	st.Stopped = stopped
	return web.WriteJSON(w, http.StatusOK, st)
}

func (s *side) warrantPackage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if err := take(ctx, s.delivering); err != nil {
		return err
	}
	defer func() { <-s.delivering }()
	sealed, err := s.Registrar.Deliver(ctx, r.PathValue(registrar.ParamCase))
	if errors.Is(err, disclose.ErrQuorumNotMet) {
		if found, serr := s.Registrar.Cases.Summary(ctx, r.PathValue(registrar.ParamCase)); serr == nil {
			decided := found.Decided()
			return web.WithFacts{Err: err, Decided: &decided, Quorum: &found.Quorum}
		}
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err = w.Write(sealed)
	return err
}

// stateDeletion takes the requester's word, which the receipt in the package proves.
func (s *side) stateDeletion(w http.ResponseWriter, r *http.Request) error {
	var in registrar.Deletion
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	if err := opening.CheckDeletion(in.Statement); err != nil {
		return err
	}
	if len(in.MAC) != 32 {
		return disclose.ErrReceipt
	}
	stated, err := s.Registrar.StateDeletion(r.Context(), r.PathValue(registrar.ParamCase), in.Statement, [32]byte(in.MAC))
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, countsOf(stated))
}

// objections is for whoever knows the id of the case: the words are encrypted.
func (s *side) objections(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue(registrar.ParamCase)
	all, err := s.Registrar.Objections(r.Context(), id)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, registrar.Objections{Case: id, Objections: all})
}

// coded says to who has the code of a notice what that says.
func (s *side) coded(w http.ResponseWriter, r *http.Request) error {
	var in registrar.NoticeCode
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	told, err := s.Registrar.Coded(r.Context(), in.Code)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, told)
}

func (s *side) object(w http.ResponseWriter, r *http.Request) error {
	var in registrar.LawyersObjection
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	digest, err := s.Registrar.Object(r.Context(), in.Code, in.Sealed)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusCreated, registrar.Objected{Digest: hex.EncodeToString(digest[:])})
}

func (s *side) exhibits(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue(registrar.ParamCase)
	found, err := s.Registrar.Cases.Exhibits(r.Context(), id)
	if err != nil {
		return err
	}
	said := registrar.Exhibits{Case: id, Stored: found.Stored, Until: found.Until}
	for _, digest := range found.Missing {
		said.Missing = append(said.Missing, hex.EncodeToString(digest[:]))
	}
	return web.WriteJSON(w, http.StatusOK, said)
}

// putExhibit takes one that the evidence of the case declares, whoever brings it: it is
// encrypted, and compared with the evidence by whoever opens it.
func (s *side) putExhibit(w http.ResponseWriter, r *http.Request) error {
	digest, ok := digestOf(r, registrar.ParamDigest)
	if !ok {
		return disclose.ErrExhibitUndeclared
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := s.Registrar.Cases.PutExhibit(r.Context(), r.PathValue(registrar.ParamCase), digest, b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// putShortExhibits takes several, as putExhibit does one.
func (s *side) putShortExhibits(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	all, ok := registrar.SplitExhibits(b)
	if !ok {
		return disclose.ErrExhibitLength
	}
	if err := s.Registrar.Cases.PutExhibits(r.Context(), r.PathValue(registrar.ParamCase), all); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// shortExhibits are those that are stored.
func (s *side) shortExhibits(w http.ResponseWriter, r *http.Request) error {
	of, err := document.DecodeBase64(r.URL.Query().Get(registrar.ParamOf))
	if err != nil || len(of)%32 != 0 {
		return disclose.ErrNoExhibit
	}
	var digests [][32]byte
	for ; len(of) > 0; of = of[32:] {
		digests = append(digests, [32]byte(of))
	}
	found, err := s.Registrar.ShortExhibits(r.Context(), r.PathValue(registrar.ParamCase), digests)
	return writeSealed(w, registrar.JoinExhibits(found), err)
}

func (s *side) exhibit(w http.ResponseWriter, r *http.Request) error {
	digest, ok := digestOf(r, registrar.ParamDigest)
	if !ok {
		return disclose.ErrNoExhibit
	}
	b, err := s.Registrar.Cases.Exhibit(r.Context(), r.PathValue(registrar.ParamCase), digest)
	return writeSealed(w, b, err)
}

// putCopy takes what a custodian in force signed, whoever brings it.
func (s *side) putCopy(w http.ResponseWriter, r *http.Request) error {
	digest, ok := digestOf(r, registrar.ParamDigest)
	recipient, known := digestOf(r, registrar.ParamCopyTo)
	if !ok || !known {
		return disclose.ErrExhibitUndeclared
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := s.Registrar.PutCopy(r.Context(), r.PathValue(registrar.ParamCase), digest, recipient, b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *side) copy(w http.ResponseWriter, r *http.Request) error {
	digest, ok := digestOf(r, registrar.ParamDigest)
	recipient, known := digestOf(r, registrar.ParamCopyTo)
	if !ok || !known {
		return disclose.ErrNoExhibit
	}
	b, err := s.Registrar.Cases.Copy(r.Context(), r.PathValue(registrar.ParamCase), digest, recipient)
	return writeSealed(w, b, err)
}

func writeSealed(w http.ResponseWriter, b []byte, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err = w.Write(b)
	return err
}

func digestOf(r *http.Request, param string) (digest [32]byte, ok bool) {
	text := r.PathValue(param)
	n, err := hex.Decode(digest[:], []byte(text[:min(len(text), 64)]))
	return digest, err == nil && n == 32 && len(text) == 64
}

// seat is who asks: a custodian, or an alternate of theirs.
type seat struct{ custodian, alternate string }

// weighed is [web.Server.Weighing] of what custodians alone are served.
func (s *side) weighed(next func(http.ResponseWriter, *http.Request, seat) error) func(http.ResponseWriter, *http.Request, seat) error {
	return func(w http.ResponseWriter, r *http.Request, who seat) error {
		return s.edge.Weighing(func(w http.ResponseWriter, r *http.Request) error { return next(w, r, who) })(w, r)
	}
}

// custodian lets only a custodian of the bundle in force, or an alternate of theirs, pass: the request
// carries a DPoP proof (RFC 9449, 4.2) by the key that the bundle names. A
// proof is for one request: method, address and time are signed, its id is
// used up.
func (s *side) custodian(next func(http.ResponseWriter, *http.Request, seat) error) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		proofs := r.Header.Values("DPoP")
		if len(proofs) != 1 { // RFC 9449, 4.3: not more than one DPoP header
			return policy.ErrUnknownCustodian
		}
		p, err := token.VerifyDPoP(proofs[0], token.DPoPWant{
			Method: r.Method, URL: s.edge.Origin + r.URL.Path, Now: s.edge.Now(), MaxAge: time.Minute,
		})
		if err != nil {
			return err
		}
		b, err := s.Registrar.Rules.InForce(r.Context())
		if err != nil {
			return err
		}
		who := seat{}
		if who.custodian, who.alternate = b.SeatOfKey(p.JKT); who.custodian == "" {
			return policy.ErrUnknownCustodian
		}
		first, err := s.SingleUse.Use(r.Context(), sha256.Sum256([]byte("dpop\x00"+p.JKT+"\x00"+p.ID)), s.edge.Now().Add(2*time.Minute))
		if err != nil {
			return err
		}
		if !first {
			return token.ErrProofReplayed
		}
		return next(w, r, who)
	}
}

func (s *side) waitingCases(w http.ResponseWriter, r *http.Request, who seat) error {
	var from disclose.Cursor
	if err := from.UnmarshalText([]byte(r.URL.Query().Get(registrar.ParamFrom))); err != nil {
		return err
	}
	waiting, yours, next, err := s.Registrar.WaitingFor(r.Context(), who.custodian, who.alternate, from)
	if err != nil {
		return err
	}
	list := registrar.Cases{Cases: make([]registrar.CaseStatus, len(waiting)), Next: next.String()}
	for i, c := range waiting {
		list.Cases[i] = listed(c)
		if list.Cases[i].Waits = yours[i]; yours[i] == disclose.Early && c.ApproveFrom.After(s.edge.Now()) {
			list.Cases[i].ApproveFrom = c.ApproveFrom
		}
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// mine lists the cases of the authority that signs the inquiry. It is answered once.
func (s *side) mine(w http.ResponseWriter, r *http.Request) error {
	var in registrar.Inquiry
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	var from disclose.Cursor
	if err := from.UnmarshalText([]byte(r.URL.Query().Get(registrar.ParamFrom))); err != nil {
		return err
	}
	page, next, err := s.Registrar.Mine(r.Context(), in.Inquiry, from)
	if err != nil {
		return err
	}
	if err := s.answerOnce(r.Context(), in.Inquiry); err != nil {
		return err
	}
	list := registrar.Cases{Cases: make([]registrar.CaseStatus, len(page)), Next: next.String()}
	for i, c := range page {
		list.Cases[i] = mine(c)
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// mine is what a list says of a case, to the authority that issued its warrant.
func mine(c disclose.Own) registrar.CaseStatus {
	st := listed(c.Summary)
	if !policy.KindOf(c.Kind).Decided {
		st.Quorum = 0
	}
	due, _ := c.Due()
	st.Kind, st.Authority, st.PenNames, st.Next, st.Warrant = c.Kind, c.Authority, c.Targets, &due, hex.EncodeToString(c.Warrant[:])
	var waits []string
	if !c.ValidateBy.IsZero() && !c.Validated && c.Barred == "" && c.State != disclose.Lapsed {
		waits = append(waits, registrar.WaitsValidation)
	}
	if c.Objections > 0 {
		waits = append(waits, registrar.WaitsObjection)
	}
	if c.Questions > 0 {
		waits = append(waits, registrar.WaitsQuestion)
	}
	if c.State == disclose.Released {
		waits = append(waits, registrar.WaitsRelease)
	}
	st.Waits = strings.Join(waits, ", ")
	return st
}

func (s *side) reviewCase(w http.ResponseWriter, r *http.Request, _ seat) error {
	f, err := s.Registrar.Review(r.Context(), r.PathValue(registrar.ParamCase))
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, f)
}

func (s *side) decideCase(w http.ResponseWriter, r *http.Request, _ seat) error {
	var in registrar.Decision
	if err := web.ReadJSON(r, &in); err != nil {
		return err
	}
	decided, err := s.Registrar.Decide(r.Context(), r.PathValue(registrar.ParamCase), in.Decision)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, answerOf(decided))
}
