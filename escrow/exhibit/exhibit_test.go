package exhibit

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/document"
)

// reader is somebody with a key: what others encrypt to, and what they open with.
type reader struct{ recipient, identity string }

func custodian(t testing.TB) reader {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return reader{id.Recipient().String(), id.String()}
}

func requester(t testing.TB) reader {
	t.Helper()
	k, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := k.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return reader{k.Public(), secret}
}

func sealed(t testing.TB, content []byte, to ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Seal(&out, to, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func opened(b []byte, by reader) ([]byte, error) {
	r, err := Open(bytes.NewReader(b), by.identity)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// A text comes back as it was, and what was encrypted tells its length in blocks alone.
func TestTextsHaveFewLengths(t *testing.T) {
	alba := custodian(t)
	for block, lengths := range map[int][]int{1: {1, 16, 17, 777, 778, 4096}, 2: {4097, 8000, 8192}, 8: {32_000}} {
		for _, n := range lengths {
			text := strings.Repeat("é", n/2) + strings.Repeat(" ", n%2)
			b, err := SealText([]string{alba.recipient}, text)
			if want := SealedSize(int64(4096*block), 1); err != nil || int64(len(b)) != want {
				t.Errorf("%d bytes became %d, not %d: %v", n, len(b), want, err)
			}
			if OpenText(b, alba.identity) != text {
				t.Errorf("%d bytes came back as others", n)
			}
		}
	}
}

// A custodian opens what the requester opens, of any size, and its length is known before.
func TestEverybodyNamedOpensIt(t *testing.T) {
	alba, bruno, police := custodian(t), custodian(t), requester(t)
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000} {
		content := bytes.Repeat([]byte{7}, n)
		b := sealed(t, content, alba.recipient, bruno.recipient, police.recipient)
		if int64(len(b)) != SealedSize(int64(n), 3) {
			t.Errorf("%d bytes became %d, not %d", n, len(b), SealedSize(int64(n), 3))
		}
		for _, by := range []reader{alba, bruno, police} {
			if got, err := opened(b, by); err != nil || !bytes.Equal(got, content) {
				t.Error(n, err)
			}
		}
	}
}

// The delivery key is a recipient of age: age's own program finds the same key in it.
func TestADeliveryKeyIsARecipient(t *testing.T) {
	police := requester(t)
	key, err := document.ParseDeliveryKey(police.recipient)
	if err != nil {
		t.Fatal(err)
	}
	to, err := age.ParseHybridRecipient(document.Recipient(key))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "words"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := opened(out.Bytes(), police); err != nil || string(got) != "words" {
		t.Error(string(got), err)
	}
}

func TestOthersOpenNothing(t *testing.T) {
	alba := custodian(t)
	b := sealed(t, []byte("words"), alba.recipient)
	for _, by := range []reader{custodian(t), requester(t)} {
		if _, err := opened(b, by); !errors.Is(err, ErrNotForThisKey) {
			t.Error(err)
		}
	}
	for _, by := range []string{"", "AGE-SECRET-KEY-PQ-1", "pendsk1.", "pendsk1.AAAA", alba.recipient, strings.ToLower(alba.identity)[:40]} {
		_, err := Open(bytes.NewReader(b), by)
		if !errors.Is(err, ErrIdentity) {
			t.Errorf("%q: %v", by, err)
		}
	}
}

// Whatever is cut or changed is noticed when it is read to its end.
func TestWhatIsDamagedIsNoticed(t *testing.T) {
	alba := custodian(t)
	b := sealed(t, bytes.Repeat([]byte("words "), 20_000), alba.recipient)
	for _, n := range []int{0, 10, 1000, len(b) - 70_000, len(b) - 16, len(b) - 1} {
		if _, err := opened(b[:n], alba); err == nil {
			t.Error("cut after", n)
		}
	}
	for _, at := range []int{1, 30, 2000, len(b) / 2, len(b) - 1} {
		changed := slices.Clone(b)
		changed[at] ^= 1
		if _, err := opened(changed, alba); err == nil {
			t.Error("changed at", at)
		}
	}
	if _, err := opened(append(slices.Clone(b), 0), alba); !errors.Is(err, ErrDamaged) {
		t.Error("longer:", err)
	}
}

func TestNobodyElseIsARecipient(t *testing.T) {
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	alba := custodian(t)
	for name, to := range map[string][]string{
		"nobody": nil, "empty": {""}, "without ML-KEM": {classic.Recipient().String()}, "capitals": {strings.ToUpper(alba.recipient)},
		"a secret": {alba.identity}, "one of two": {alba.recipient, "age1pq1"},
		"small order": {"pendk1." + strings.Repeat("A", 1622)},
	} {
		var out bytes.Buffer
		if err := Seal(&out, to, strings.NewReader("words")); !errors.Is(err, ErrRecipient) || out.Len() > 0 {
			t.Error(name, err, out.Len())
		}
	}
}

// What was read before an error is nobody's whole exhibit.
func TestContentThatBreaksOff(t *testing.T) {
	alba, broken := custodian(t), errors.New("broken")
	var out bytes.Buffer
	if err := Seal(&out, []string{alba.recipient}, io.MultiReader(strings.NewReader("words"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := opened(out.Bytes(), alba); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	alba, police := custodian(f), requester(f)
	whole := sealed(f, []byte("words"), alba.recipient, police.recipient)
	for _, b := range [][]byte{nil, whole, whole[:len(whole)-1], whole[:200], []byte("age-encryption.org/v1\n--- \n"), []byte("age-encryption.org/v1\n-> mlkem768x25519 AAAA\n\n--- \n"), make([]byte, 4096)} {
		f.Add(b)
	}
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		for _, by := range []reader{alba, police} {
			got, err := opened(b, by)
			if err == nil && string(got) != "words" { // nobody makes another without the recipient
				t.Errorf("opened %d bytes", len(got))
			}
		}
	})
}
