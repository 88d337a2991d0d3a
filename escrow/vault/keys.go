package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penname/penname/escrow/coalesce"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/refusal"
)

// Issuing is the side that encrypts and authenticates. It has no method that
// opens, and its token may not. It is safe for concurrent use.
type Issuing struct {
	*session
	halves      sync.Map // of groups: *coalesce.Group[sealItem, string]
	link        coalesce.Group[sealItem, string]
	fingerprint coalesce.Group[macItem, []byte]
	pseudonym   coalesce.Group[macItem, []byte]
}

// Disclosing is the side that opens. It has no method that encrypts, and its
// token may not. It is safe for concurrent use.
type Disclosing struct{ *session }

var _ disclose.Keys = (*Disclosing)(nil)

// A call costs Vault as much as thirty of its items do. So those who enrol, of whom many
// come at once, share one at a time; and those who sign in, one by one, come together for a
// moment, if others do.
const (
	enrolItems = 1024
	macRest    = 10 * time.Millisecond
)

// maxBatch is how many values one call opens: Vault takes 32 MiB and this time
// is far below the caller's deadline.
const maxBatch = 1000

// Items of a batch, as Transit takes them. Values are base64 text: Vault's
// audit device hashes strings and nothing else.
type (
	place struct {
		Reference string `json:"reference"` // comes back with the result
	}
	sealItem struct {
		place
		Plaintext string `json:"plaintext"`
		Context   string `json:"context"`
	}
	openItem struct {
		place
		Ciphertext string `json:"ciphertext"`
		Context    string `json:"context"`
	}
	macItem struct {
		place
		Input string `json:"input"`
	}
	batchResult struct{ Reference, Ciphertext, Plaintext, HMAC, Error string }
	batchAnswer struct {
		Data struct {
			Results []batchResult `json:"batch_results"`
		}
	}
)

// OpenIssuing logs in as the issuing side and verifies that its rights and keys
// are exactly those of bootstrap.
func OpenIssuing(ctx context.Context, c Config) (*Issuing, error) {
	s, err := open(ctx, c, SideIssuing)
	if err != nil {
		return nil, err
	}
	k := &Issuing{session: s}
	k.pseudonym.Rest = macRest
	k.fingerprint.Alone, k.fingerprint.Items = true, enrolItems
	k.link.Send = s.encrypt(mount + "/encrypt/" + keyLink)
	k.fingerprint.Send, k.pseudonym.Send = s.hmac(keyFingerprint), s.hmac(keyPseudonym)
	return k, nil
}

// OpenDisclosing logs in as the disclosing side and verifies that its rights
// and keys are exactly those of bootstrap.
func OpenDisclosing(ctx context.Context, c Config) (*Disclosing, error) {
	s, err := open(ctx, c, SideDisclosing)
	if err != nil {
		return nil, err
	}
	return &Disclosing{s}, nil
}

// WrapHalf is [Issuing.WrapHalfIn] of group 0.
func (k *Issuing) WrapHalf(ctx context.Context, label string, k1 []byte) (string, error) {
	return k.WrapHalfIn(ctx, 0, label, k1)
}

// WrapHalfIn encrypts the first half k1 of the record that label names, with the key of a
// group, which the result names. It opens under the same label only. A group that has no
// key is [keep.ErrRollback].
func (k *Issuing) WrapHalfIn(ctx context.Context, group int, label string, k1 []byte) (string, error) {
	if err := k.fit(ctx, group); err != nil {
		return "", err
	}
	queue, _ := k.halves.LoadOrStore(group, &coalesce.Group[sealItem, string]{Alone: true, Items: enrolItems, Send: k.encrypt(recordKey("encrypt", group))})
	wrapped, err := wrap(ctx, queue.(*coalesce.Group[sealItem, string]), label, k1)
	if err != nil {
		return "", err
	}
	return keep.InGroup(group, wrapped), nil
}

// WrapLink encrypts the link of a pseudonym to its record. The result opens
// under the same pseudonym only.
func (k *Issuing) WrapLink(ctx context.Context, pseudonym string, link []byte) (string, error) {
	return wrap(ctx, &k.link, pseudonym, link)
}

// MAC returns one HMAC-SHA-256 of 32 bytes for each input, under the key of
// the purpose: "fingerprint" or "pseudonym".
func (k *Issuing) MAC(ctx context.Context, purpose string, inputs ...[]byte) ([][]byte, error) {
	c := map[string]*coalesce.Group[macItem, []byte]{"fingerprint": &k.fingerprint, "pseudonym": &k.pseudonym}[purpose]
	if c == nil {
		return nil, keep.ErrInput
	}
	items := make([]macItem, len(inputs))
	for i, input := range inputs {
		if len(input) == 0 || len(input) > maxValue {
			return nil, keep.ErrInput
		}
		items[i].Input = base64.StdEncoding.EncodeToString(input)
	}
	return together(ctx, c, items...)
}

// UnwrapHalves implements [disclose.Keys]. It opens what WrapHalf made for the
// same labels.
func (k *Disclosing) UnwrapHalves(ctx context.Context, halves []disclose.Wrapped) ([][]byte, error) {
	opened := make([][]byte, len(halves))
	fail := func(err error) ([][]byte, error) {
		wipe(opened)
		return nil, err
	}
	texts, places := make(map[int][]disclose.Wrapped), make(map[int][]int)
	for i, half := range halves {
		group, wrapped := keep.GroupOf(half.Text)
		texts[group], places[group] = append(texts[group], disclose.Wrapped{Name: half.Name, Text: wrapped}), append(places[group], i)
	}
	for group := range texts {
		err := k.fit(ctx, group)
		if errors.Is(err, errNoKey) {
			err = keep.ErrDecryptFailed.Because(errors.New("its group has no key"))
		}
		if err != nil {
			return fail(err)
		}
		values, err := k.open(ctx, recordKey("decrypt", group), texts[group])
		for n, value := range values {
			opened[places[group][n]] = value
		}
		if err != nil {
			return fail(err)
		}
	}
	return opened, nil
}

// OpenLinks implements [disclose.Keys]. It opens what WrapLink made for the same
// pseudonyms.
func (k *Disclosing) OpenLinks(ctx context.Context, links []disclose.Wrapped) ([][]byte, error) {
	return k.open(ctx, mount+"/decrypt/"+keyLink, links)
}

func wipe(values [][]byte) {
	for _, v := range values {
		clear(v)
	}
}

// together sends the items with those of concurrent calls.
func together[In, Out any](ctx context.Context, c *coalesce.Group[In, Out], items ...In) ([]Out, error) {
	outs, err := c.Do(ctx, items...)
	if err != nil && refusal.Of(err) == nil {
		err = keep.ErrUnavailable.Because(err)
	}
	return outs, err
}

func wrap(ctx context.Context, c *coalesce.Group[sealItem, string], label string, value []byte) (string, error) {
	if label == "" || len(label) > maxLabel || len(value) == 0 || len(value) > maxValue {
		return "", keep.ErrInput
	}
	out, err := together(ctx, c, sealItem{Plaintext: base64.StdEncoding.EncodeToString(value), Context: base64.StdEncoding.EncodeToString([]byte(label))})
	if err != nil {
		return "", err
	}
	return out[0], nil
}

// newOpenItem is what Transit takes to open or rewrap a value.
func newOpenItem(name, text string) (openItem, error) {
	if name == "" || len(name) > maxLabel || text == "" || len(text) > 2*maxValue {
		return openItem{}, keep.ErrInput
	}
	if !wellFormed(text) {
		return openItem{}, keep.ErrDecryptFailed
	}
	return openItem{Ciphertext: text, Context: base64.StdEncoding.EncodeToString([]byte(name))}, nil
}

// open decrypts values in their order, up to the first that does not open.
func (s *session) open(ctx context.Context, path string, values []disclose.Wrapped) (opened [][]byte, err error) {
	if ctx.Err() != nil {
		return nil, keep.ErrUnavailable.Because(ctx.Err())
	}
	var items []openItem
	var unfit error
	for _, v := range values {
		var item openItem
		if item, unfit = newOpenItem(v.Name, v.Text); unfit != nil {
			break
		}
		items = append(items, item)
	}
	for part := range slices.Chunk(items, maxBatch) {
		results, err := sendBatch(ctx, s, path, part, map[string]any{})
		if err != nil {
			return opened, err
		}
		for _, r := range results {
			value, err := r.opened()
			if err != nil {
				return opened, err
			}
			opened = append(opened, value)
		}
	}
	return opened, unfit
}

// failed is what became of one item of a batch that opens or rewraps.
func (r batchResult) failed() error {
	switch {
	case strings.Contains(r.Error, "disallowed by policy (too old)"): // keysutil.ErrTooOld: the text is its only mark
		return keep.ErrArchived
	case r.Error != "":
		return keep.ErrDecryptFailed
	}
	return nil
}

func (r batchResult) opened() ([]byte, error) {
	if err := r.failed(); err != nil {
		return nil, err
	}
	value, err := strictBase64.DecodeString(r.Plaintext)
	if err != nil || len(value) == 0 { // nothing empty is ever wrapped
		return nil, errBadResponse
	}
	return value, nil
}

// wellFormed reports whether wrapped is of Transit's form, "vault:v17:" and base64, with no
// second way to write the same value: Vault itself reads v01 as v1, and base64 with stray
// last bits.
func wellFormed(wrapped string) bool {
	rest, ok := strings.CutPrefix(wrapped, "vault:v")
	version, text, _ := strings.Cut(rest, ":")
	if n, err := strconv.ParseUint(version, 10, 32); !ok || err != nil || n < 1 || version[0] == '0' || len(version) > 9 {
		return false
	}
	if text == "" || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return false
	}
	_, err := strictBase64.AppendDecode(make([]byte, 0, 256), []byte(text))
	return err == nil
}

var strictBase64 = base64.StdEncoding.Strict()

func (p *place) put(i int) { p.Reference = strconv.Itoa(i) }

// sendBatch sends items in a body with what else it needs, and returns one result
// for each: that of its own reference, in its own place, or none is believed.
// Status 400 with results says that one item or more failed; the others of the
// same batch are good.
func sendBatch[T any, P interface {
	*T
	put(int)
}](ctx context.Context, s *session, path string, items []T, body map[string]any) ([]batchResult, error) {
	for i := range items {
		P(&items[i]).put(i)
	}
	body["batch_input"] = items
	var answer batchAnswer
	err := s.call(ctx, http.MethodPost, path, body, &answer)
	if errors.Is(err, ErrSealed) { // who is served cannot unseal it; the log says it
		err = keep.ErrUnavailable.Because(fmt.Errorf("it is sealed: %w", refusal.Of(err).Unwrap()))
	}
	if refusal.Of(err) != nil {
		return nil, err
	}
	if len(answer.Data.Results) != len(items) { // status 404, or 400 for the request as a whole, among others
		return nil, errBadResponse.Because(err)
	}
	for i, r := range answer.Data.Results {
		if r.Reference != strconv.Itoa(i) {
			return nil, errBadResponse
		}
	}
	return answer.Data.Results, nil
}

func (s *session) encrypt(path string) func(context.Context, []sealItem) ([]coalesce.Result[string], error) {
	return func(ctx context.Context, items []sealItem) ([]coalesce.Result[string], error) {
		sealed, err := sendBatch(ctx, s, path, items, map[string]any{})
		if err != nil {
			return nil, err
		}
		results := make([]coalesce.Result[string], len(items))
		for i, r := range sealed {
			if results[i].Out = r.Ciphertext; r.Error != "" || !wellFormed(r.Ciphertext) {
				results[i] = coalesce.Result[string]{Err: errBadResponse}
			}
		}
		return results, nil
	}
}

func (s *session) hmac(key string) func(context.Context, []macItem) ([]coalesce.Result[[]byte], error) {
	return func(ctx context.Context, items []macItem) ([]coalesce.Result[[]byte], error) {
		macs, err := sendBatch(ctx, s, mount+"/hmac/"+key, items, map[string]any{"key_version": "1"}) // the policy allows this version alone
		if err != nil {
			return nil, err
		}
		results := make([]coalesce.Result[[]byte], len(items))
		for i, r := range macs {
			text, ok := strings.CutPrefix(r.HMAC, "vault:v1:")
			results[i].Out, err = strictBase64.DecodeString(text)
			if r.Error != "" || !ok || err != nil || len(results[i].Out) != 32 {
				results[i] = coalesce.Result[[]byte]{Err: errBadResponse}
			}
		}
		return results, nil
	}
}
