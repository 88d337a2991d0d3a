package token

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
)

// Vectors from an independent implementation of BIP 350, written for them.
var pseudonymVectors = []struct{ raw, text string }{
	{"000102030405060708090a0b0c0d0e0f", "pen1qqqsyqcyq5rqwzqfpg9scrgwpusvvflz"},
	{"00000000000000000000000000000000", "pen1qqqqqqqqqqqqqqqqqqqqqqqqqq24jkp4"},
	{"ffffffffffffffffffffffffffffffff", "pen1lllllllllllllllllllllllllus526c4"},
	{"8000000000000000000000000000000f", "pen1sqqqqqqqqqqqqqqqqqqqqqqqpucwjjxn"},
}

func TestPseudonymVectors(t *testing.T) {
	for _, v := range pseudonymVectors {
		raw, _ := hex.DecodeString(v.raw)
		got, err := NewPseudonym(raw)
		if err != nil || string(got) != v.text {
			t.Errorf("NewPseudonym(%s) = %s, %v, want %s", v.raw, got, err, v.text)
		}
		if p, err := ParsePseudonym(v.text); err != nil || string(p) != v.text {
			t.Errorf("ParsePseudonym(%s) = %s, %v", v.text, p, err)
		}
	}
}

// The package comment shows a pseudonym; it must be one.
func TestPseudonymOfThePackageComment(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`pen1[a-z0-9]+`).FindAllString(string(doc), -1)
	if len(shown) == 0 {
		t.Error("none is shown")
	}
	for _, s := range shown {
		if _, err := ParsePseudonym(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestPseudonymRefused(t *testing.T) {
	const good = "pen1qqqsyqcyq5rqwzqfpg9scrgwpusvvflz"
	for name, s := range map[string]string{
		"empty":               "",
		"upper case":          strings.ToUpper(good),
		"mixed case":          strings.Replace(good, "q", "Q", 1),
		"bech32, not bech32m": "pen1qqqsyqcyq5rqwzqfpg9scrgwpu9su96q",
		"other prefix":        "pem1qqqsyqcyq5rqwzqfpg9scrgwpu8r30s2",
		"padding not zero":    "pen1qqqsyqcyq5rqwzqfpg9scrgwpad6cuzs",
		"space before":        " " + good,
		"newline after":       good + "\n",
		"truncated":           good[:len(good)-1],
		"letter b":            strings.Replace(good, "y", "b", 1),
		"full width":          "pen1ｑ" + good[7:],
	} {
		if p, err := ParsePseudonym(s); !errors.Is(err, ErrBadPseudonym) || p != "" {
			t.Errorf("%s: got %q, %v", name, p, err)
		}
	}
	for _, n := range []int{0, 15, 17, 32} {
		if p, err := NewPseudonym(make([]byte, n)); !errors.Is(err, ErrBadPseudonym) || p != "" {
			t.Errorf("%d bytes: got %q, %v", n, p, err)
		}
	}
}

// BIP 173: the code "guarantees detection of any error affecting at most 4
// characters". All single and double errors are tried, and many of three and four.
func TestPseudonymErrorsAreDetected(t *testing.T) {
	good := []byte(pseudonymVectors[0].text)
	try := func(positions ...int) {
		b := bytes.Clone(good)
		for _, p := range positions {
			b[p] = alphabet[(strings.IndexByte(alphabet, b[p])+1+rand.IntN(31))%32]
		}
		if _, err := ParsePseudonym(string(b)); err == nil {
			t.Fatalf("%s passes with %d errors", b, len(positions))
		}
	}
	for i := len(prefix); i < len(good); i++ {
		for j := i + 1; j < len(good); j++ {
			for _, c := range []byte(alphabet) {
				for _, d := range []byte(alphabet) {
					b := bytes.Clone(good)
					b[i], b[j] = c, d
					if _, err := ParsePseudonym(string(b)); (err == nil) != bytes.Equal(b, good) {
						t.Fatalf("%s: %v", b, err)
					}
				}
			}
		}
	}
	for range 50_000 {
		p := rand.Perm(len(good) - len(prefix))
		try(p[0]+4, p[1]+4, p[2]+4)
		try(p[0]+4, p[1]+4, p[2]+4, p[3]+4)
	}
}

func TestCommit(t *testing.T) {
	var salt [32]byte
	for i := range salt {
		salt[i] = byte(i)
	}
	p := Pseudonym(pseudonymVectors[0].text)
	got := Commit(p, "record-label", salt)
	// computed apart: SHA-256 over the documented bytes
	if want := "882031ac530a96f1463989c656d07fc5c59c80185ebf425803fe8f7a7daec5be"; hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
	seen := map[[32]byte]string{got: "base"}
	for name, other := range map[string][32]byte{
		"another pseudonym": Commit(pen(2), "record-label", salt),
		"another label":     Commit(p, "record-labem", salt),
		"another salt":      Commit(p, "record-label", [32]byte{}),
		"moved boundary":    Commit(p+"r", "ecord-label", salt),
	} {
		if seen[other] != "" {
			t.Errorf("%s has the commitment of %s", name, seen[other])
		}
		seen[other] = name
	}
}

func FuzzPseudonym(f *testing.F) {
	for _, v := range pseudonymVectors {
		f.Add(v.text)
	}
	fuzzing.Run(f, func(t *testing.T, s string) {
		p, err := ParsePseudonym(s)
		if err != nil {
			return
		}
		// decode by hand and spell again: one spelling for one name
		var raw []byte
		var acc, bits uint
		for _, c := range []byte(s[4:30]) {
			acc, bits = acc<<5|uint(strings.IndexByte(alphabet, c)), bits+5
			if bits >= 8 {
				raw, bits = append(raw, byte(acc>>(bits-8))), bits-8
			}
		}
		if again, err := NewPseudonym(raw); err != nil || again != p {
			t.Errorf("%q is %q again, %v", s, again, err)
		}
	})
}
