package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/vault"
)

// A capability is what one attacker has taken. All of it is real: read from a
// world in which people enrolled at a service in a process of its own.
type capability int

const (
	database     capability = iota // every row, as the superuser
	issuingRole                    // the Vault token of the issuing side
	disclosing                     // the Vault token of the disclosing side
	vaultAdmin                     // Vault's root token: it may grant itself anything
	processImage                   // all readable memory of the issuing process, after people enrolled
	someShares                     // the key shares of t-1 world.Custodians
	allShares                      // the key shares of all world.Custodians
	capabilities
)

var capabilityNames = [capabilities]string{
	"database", "Vault issuing role", "Vault disclosing role", "Vault administrator",
	"operator's memory after enrolment", "t−1 custodians", "all custodians",
}

// loot is what a set of capabilities adds up to.
type loot struct {
	vault  *escrowtest.VaultFixture
	pk     threshold.PublicKey // public: it is in the bundle
	rows   []seal.Record
	tokens []string
	memory *haul
	shares []threshold.KeyShare
	groups []int             // of all records
	halves map[string][]byte // of earlier decryptions by the same tokens, by token and ciphertext
}

// haul is a memory image with what was found in it, which does not depend on
// what else an attacker has.
type haul struct {
	image      image
	identities []string   // fields of those who enrolled, in any form
	keys       [][32]byte // K1 and K2 of those who enrolled, in any form
	tokens     []string   // of Vault
	databases  []string   // addresses with passwords
	halves     []string   // wrapped first halves
	seconds    [][]byte   // second halves
}

// attack tries everything that the loot allows and returns the names it opened.
func (l loot) attack(t *testing.T) []string {
	var names []string
	records, tokens := slices.Clone(l.rows), slices.Clone(l.tokens)
	if m := l.memory; m != nil {
		names = append(names, m.identities...)
		tokens = append(tokens, m.tokens...)
		for _, dsn := range m.databases {
			records = append(records, readRecords(t, dsn)...)
		}
	}
	for _, r := range records {
		second := l.combine(nameHalf(r))
		for _, first := range l.unwrap(t, tokens, r.Label, r.FirstHalf) {
			names = append(names, openAny(r, first, second)...)
		}
		// Without one half: the other alone, and none.
		names = append(names, openAny(r, make([]byte, 32), second)...)
		if m := l.memory; m != nil { // a key from memory in the place of either half
			for _, k := range m.keys {
				names = append(names, openAny(r, k[:], append(second, k))...)
			}
		}
		// The halves of other records.
		for _, other := range records {
			if other.Label != r.Label {
				names = append(names, openAny(r, make([]byte, 32), l.combine(nameHalf(other)))...)
			}
		}
	}
	return append(names, l.carve(t, tokens)...)
}

// nameHalf is the second half that the name is under.
func nameHalf(r seal.Record) []byte { return r.SecondHalves["identity"] }

// combine returns what the shares make of a second half, and the zero half.
func (l loot) combine(secondHalf []byte) (all [][32]byte) {
	all = append(all, [32]byte{})
	var ct threshold.Ciphertext
	if ct.UnmarshalBinary(secondHalf) != nil {
		return all
	}
	var shares []threshold.Share
	for _, ks := range l.shares {
		s, err := ks.Decrypt(rand.Reader, l.pk, ct)
		if err == nil {
			shares = append(shares, s)
		}
	}
	for n := 1; n <= len(shares); n++ {
		for at := 0; at+n <= len(shares); at++ {
			if k2, err := l.pk.Combine(ct, shares[at:at+n]); err == nil {
				all = append(all, k2)
			}
			// A share twice, and one under another's number, counts for no more.
			if _, err := l.pk.Combine(ct, append(slices.Clone(shares[at:at+n]), shares[at])); err == nil && n < world.Quorum {
				panic("a share counted twice")
			}
		}
	}
	return all
}

// unwrap asks Vault for the first half with every token, by every way that
// could lead there.
func (l loot) unwrap(t *testing.T, tokens []string, label, wrapped string) (all [][]byte) {
	context := base64.StdEncoding.EncodeToString([]byte(label))
	for _, token := range tokens {
		known := token + wrapped
		if half, ok := l.halves[known]; ok {
			if half != nil {
				all = append(all, half)
			}
			continue
		}
		half := l.decrypt(t, token, context, wrapped)
		if half == nil {
			half = l.widen(t, token, context, wrapped)
		}
		if l.halves[known] = half; half != nil {
			all = append(all, half)
		}
	}
	return all
}

func (l loot) decrypt(t *testing.T, token, context, wrapped string) []byte {
	// What was found in memory does not name its group: it is tried with the keys of all.
	texts := []string{wrapped}
	if group, _ := keep.GroupOf(wrapped); group == 0 {
		for _, group := range l.groups {
			texts = append(texts, keep.InGroup(group, wrapped))
		}
	}
	for _, text := range texts {
		key, wrapped := escrowtest.RecordKey("decrypt", text)
		for _, body := range []map[string]any{
			{"batch_input": []map[string]string{{"ciphertext": wrapped, "context": context}}},
			{"ciphertext": wrapped, "context": context},
		} {
			if half := l.try(t, token, key, body); half != nil {
				return half
			}
		}
	}
	return nil
}

// try is one call that could decrypt.
func (l loot) try(t *testing.T, token, key string, body map[string]any) []byte {
	status, answer := l.vault.Do(t, token, http.MethodPost, key, body)
	if status != http.StatusOK {
		return nil
	}
	data, _ := answer["data"].(map[string]any)
	if results, ok := data["batch_results"].([]any); ok && len(results) == 1 {
		data, _ = results[0].(map[string]any)
	}
	text, _ := data["plaintext"].(string)
	if half, err := base64.StdEncoding.DecodeString(text); err == nil && len(half) == 32 {
		return half
	}
	return nil
}

// widen tries to make more of a token than it is: a policy, a new token, a
// log-in as the other side, the key itself, a copy of the whole storage.
func (l loot) widen(t *testing.T, token, context, wrapped string) []byte {
	do := func(method, path string, body any) map[string]any {
		status, answer := l.vault.Do(t, token, method, path, body)
		if status/100 != 2 {
			return nil
		}
		if auth, ok := answer["auth"].(map[string]any); ok {
			return auth
		}
		data, _ := answer["data"].(map[string]any)
		return data
	}
	do(http.MethodPut, "sys/policies/acl/attacker", map[string]any{"policy": `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`})
	if auth := do(http.MethodPost, "auth/token/create", map[string]any{"policies": []string{"attacker", string(vault.SideDisclosing)}}); auth != nil {
		if half := l.decrypt(t, fmt.Sprint(auth["client_token"]), context, wrapped); half != nil {
			return half
		}
	}
	role := "auth/approle/role/" + string(vault.SideDisclosing)
	if id, secret := do(http.MethodGet, role+"/role-id", nil), do(http.MethodPost, role+"/secret-id", map[string]any{}); id != nil && secret != nil {
		if auth := do(http.MethodPost, "auth/approle/login", map[string]any{"role_id": id["role_id"], "secret_id": secret["secret_id"]}); auth != nil {
			return l.decrypt(t, fmt.Sprint(auth["client_token"]), context, wrapped)
		}
	}
	for _, a := range [][2]string{
		{http.MethodPost, "keys/KEY/config"}, {http.MethodGet, "export/encryption-key/KEY"}, {http.MethodGet, "backup/KEY"}, {http.MethodPost, "rewrap/KEY"},
		{http.MethodPost, "datakey/plaintext/KEY"}, {http.MethodGet, "sys/raw/logical"}, {http.MethodGet, "sys/storage/raft/snapshot"},
	} {
		at, of := escrowtest.RecordKey("x", wrapped)
		mount, key, _ := strings.Cut(at, "/x/")
		if before, after, ok := strings.Cut(a[1], "KEY"); ok {
			a[1], wrapped = mount+"/"+before+key+after, of
		}
		body := map[string]any{"exportable": true, "allow_plaintext_backup": true, "ciphertext": wrapped, "context": context}
		if status, _ := l.vault.Do(t, token, a[0], a[1], body); status/100 == 2 {
			t.Errorf("a token that may not decrypt may %s %s", a[0], a[1])
		}
	}
	return nil
}

// carve looks for sealed records in the memory image: what was sent to the
// database passed through it.
func (l loot) carve(t *testing.T, tokens []string) (names []string) {
	if l.memory == nil {
		return nil
	}
	for _, second := range l.memory.seconds {
		var ct threshold.Ciphertext
		if ct.UnmarshalBinary(second) != nil {
			continue
		}
		label, compartment, _ := strings.Cut(string(ct.Label()), ".")
		if compartment != "identity" {
			continue
		}
		seconds := l.combine(second)
		for _, wrapped := range l.memory.halves {
			for _, first := range l.unwrap(t, tokens, label, wrapped) {
				for _, k2 := range seconds {
					names = append(names, l.memory.find(label, first, k2)...)
				}
			}
		}
	}
	return names
}

// find opens the name of a record whose sealed fields lie somewhere in the image:
// each begins with the commitment C to its key (package seal).
func (c *haul) find(label string, k1 []byte, k2 [32]byte) (names []string) {
	_, commitment, _ := fieldKey(label, k1, k2)
	for _, region := range c.image {
		if at := bytes.Index(region, commitment); at >= 0 {
			for n := 32 + 12 + 64 + 16; at+n <= len(region) && n < 1024; n += 64 {
				if name, ok := openName(label, k1, k2, region[at:at+n]); ok {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// openAny opens the name in a record with its first half and any of the second.
func openAny(r seal.Record, k1 []byte, seconds [][32]byte) (names []string) {
	for _, k2 := range seconds {
		if name, ok := openName(r.Label, k1, k2, r.Fields["name"]); ok {
			names = append(names, name)
		}
	}
	return names
}

// fieldKey and openName are package seal's format, written a second time from
// its documentation: an attacker does not stop at what our code refuses.
func fieldKey(label string, k1 []byte, k2 [32]byte) (key, commitment, aad []byte) {
	frame := func(parts ...string) (b []byte) {
		for _, part := range parts {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(part))), part...)
		}
		return b
	}
	half := seal.FirstHalves(k1, label, []string{"name"})["name"]
	second, err := hkdf.Key(sha256.New, k2[:], nil, string(frame("penname/second-half/v2", label, "identity", "name")), 32)
	if err != nil {
		panic(err)
	}
	aad = frame("penname/seal/v2", label, "name")
	out, err := hkdf.Key(sha256.New, slices.Concat(half, second), nil, string(aad), 64)
	if err != nil {
		panic(err)
	}
	return out[:32], out[32:], aad
}

func openName(label string, k1 []byte, k2 [32]byte, sealed []byte) (string, bool) {
	key, _, aad := fieldKey(label, k1, k2)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil || len(sealed) < 32+12+16 {
		return "", false
	}
	plain, err := gcm.Open(nil, sealed[32:44], sealed[44:], aad)
	if err != nil {
		return "", false
	}
	return string(plain[2 : 2+binary.BigEndian.Uint16(plain)]), true
}

// readRecords reads the sealed records with whatever right the address gives.
func readRecords(t *testing.T, dsn string) (all []seal.Record) {
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		return nil
	}
	defer conn.Close(context.Background()) //nolint:errcheck // only read from
	rows, err := conn.Query(t.Context(), `SELECT label, first_half, second_half, sealed FROM penname.records`)
	if err != nil {
		return nil
	}
	var sealed, second []byte
	var r seal.Record
	_, err = pgx.ForEachRow(rows, []any{&r.Label, &r.FirstHalf, &second, &sealed}, func() error {
		c := seal.Record{Label: r.Label, FirstHalf: r.FirstHalf}
		c.Custody, _ = seal.UnpackCustody(r.Label, slices.Clone(second))
		c.Fields, _ = postgres.UnpackFields(slices.Clone(sealed))
		all = append(all, c)
		return nil
	})
	if err != nil {
		return nil
	}
	return all
}

// sufficient is the claim of promise 2: what opens a name without a warrant. The
// memory counts like the database: sealed records passed through it.
func sufficient(set [capabilities]bool) bool {
	return (set[database] || set[processImage]) && set[allShares] && (set[disclosing] || set[vaultAdmin])
}

// attackersFile is the table as SECURITY.md shows it.
const attackersFile = "testdata/attackers.md"

// TestSealedAgainst is promise 2, for every set of attackers: it tries, with
// everything they have, to open the name of anybody who enrolled (I14).
func TestSealedAgainst(t *testing.T) {
	all := takeEverything(t)
	opened := make(map[[capabilities]bool]bool)
	for bits := range 1 << capabilities {
		var set [capabilities]bool
		var names []string
		for c := range capabilities {
			if set[c] = bits>>c&1 == 1; set[c] {
				names = append(names, capabilityNames[c])
			}
		}
		name := "nobody"
		if len(names) > 0 {
			name = strings.Join(names, " + ")
		}
		t.Run(name, func(t *testing.T) {
			found := all.of(set).attack(t)
			opened[set] = len(found) > 0
			if opened[set] != sufficient(set) {
				t.Errorf("opened %d names", len(found))
			}
		})
	}
	table := attackersTable(opened)
	t.Log("\n" + table)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(attackersFile, []byte(table), 0o644); err != nil { //nolint:gosec // public
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(attackersFile)
	if err != nil || string(want) != table {
		t.Errorf("%s is not what was found (%v): run this test with UPDATE=1 and read the difference", attackersFile, err)
	}
}

// attackersNote says why the sets that suffice do.
const attackersNote = `The sets that open are one agreement: the sealed record, the custodians' half, and the key service's half, for which its administrator needs nobody. It takes all three, and no law keeps them from meeting but the custodians themselves; that is what independent custodians are for. Without any of them the rest is worth nothing, however much of it there is.

The memory is that of a process of the issuing side, a minute after the last enrolment (what is left behind is overwritten, see "What is not defended against"). No identity and no half of a key was found in it. What is found are sealed records that passed through it, so it counts like the database, and that side's Vault token and database password, which were tried too. A process that runs both sides holds the disclosing side's token as well and counts as that role: run the sides apart.
`

// attackersTable lists the smallest sets that suffice and the largest that do not.
func attackersTable(opened map[[capabilities]bool]bool) string {
	var lines []string
	closed := 0
	for bits := range 1 << capabilities {
		var set [capabilities]bool
		var cells []string
		for c := range capabilities {
			mark := " "
			if set[c] = bits>>c&1 == 1; set[c] {
				mark = "●"
			}
			cells = append(cells, mark)
		}
		extreme := true // no smaller set suffices, or every larger one does
		for c := range capabilities {
			other := set
			if other[c] = !set[c]; set[c] == opened[set] && opened[other] == opened[set] {
				extreme = false
			}
		}
		verdict := "opens nothing"
		if opened[set] {
			verdict = "**opens**"
		} else {
			closed++
		}
		if extreme {
			lines = append(lines, "| "+strings.Join(cells, " | ")+" | "+verdict+" |")
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("`TestSealedAgainst` takes real material from a real world and tries every one of the %d sets. %d open nothing. "+
		"These are the smallest sets that open a name, and the largest that do not; every other set contains one of the first or lies in one of the second.\n\n"+
		"| %s | |\n|%s\n%s\n\n"+attackersNote, len(opened), closed, strings.Join(capabilityNames[:], " | "), strings.Repeat(":-:|", int(capabilities))+"---|", strings.Join(lines, "\n"))
}

// everything is what all attackers together have.
type everything struct {
	base   loot
	rows   []seal.Record
	token  map[capability]string
	memory *haul
	shares []threshold.KeyShare
}

func (e everything) of(set [capabilities]bool) loot {
	l := e.base
	// The records that were sealed in a process are mostly found in its memory for
	// a while. They are no secret of it, and so the attacker has them always.
	if set[database] || set[processImage] {
		l.rows = e.rows
	}
	for _, role := range []capability{issuingRole, disclosing, vaultAdmin} {
		if set[role] {
			l.tokens = append(slices.Clone(l.tokens), e.token[role])
		}
	}
	if set[processImage] {
		l.memory = e.memory
	}
	if set[someShares] {
		l.shares = e.shares[:world.Quorum-1]
	}
	if set[allShares] {
		l.shares = e.shares
	}
	return l
}

// takeEverything makes a world, has people enrol, and takes it apart.
func takeEverything(t *testing.T) everything {
	t.Helper()
	tb := startVaultForTest(t)
	i := startIssuer(t, tb)
	i.enrol(t)
	v := &escrowtest.VaultFixture{VaultServer: tb.Vault, Admin: vault.Admin{Address: tb.Vault.Address, Token: tb.Vault.RootToken}}
	e := everything{
		base: loot{vault: v, halves: map[string][]byte{}},
		rows: readRecords(t, tb.Postgres.DSN),
		token: map[capability]string{
			issuingRole: v.Token(t, vault.SideIssuing), disclosing: v.Token(t, vault.SideDisclosing), vaultAdmin: v.RootToken,
		},
	}
	for _, r := range e.rows {
		if group, _ := keep.GroupOf(r.FirstHalf); group != 0 {
			e.base.groups = append(e.base.groups, group)
		}
	}
	if len(e.rows) != len(i.people) {
		t.Fatalf("%d records of %d people", len(e.rows), len(i.people))
	}
	var err error
	if e.base.pk, err = threshold.ParsePublicKey(tb.Service.Bundle.ThresholdKey); err != nil {
		t.Fatal(err)
	}
	for _, c := range world.Custodians {
		e.shares = append(e.shares, keyShareOf(t, tb, c.ID))
	}
	e.memory = e.search(t, i)
	return e
}

func keyShareOf(t *testing.T, tb *world.World, custodian string) (ks threshold.KeyShare) {
	t.Helper()
	if err := ks.UnmarshalBinary(secretOf(t, tb.Path("custodians", custodian), "share.key")); err != nil {
		t.Fatal(err)
	}
	return ks
}

func startVaultForTest(t *testing.T) *world.World {
	t.Helper()
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: true, Log: &syncBuffer{}, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	})
	return tb
}

// search takes the memory of the issuing process, after what it does every minute,
// and searches it for everything that an attacker could use.
func (e everything) search(t *testing.T, i *issuer) *haul {
	t.Helper()
	var needles [][]byte
	for _, p := range i.people {
		for _, s := range secretsOf(p) {
			needles = append(needles, encodings([]string{s, strings.ToLower(s)})...)
		}
	}
	// That the search finds what is there: before that, it does.
	before := i.memory(t).count(needles)
	if before == 0 {
		t.Error("the search finds nothing right after the enrolment: it does not work")
	}
	c := &haul{}
	for range 5 { // a connection that closes is garbage only when its goroutines have ended
		i.dropFreedMemory(t)
		if c.image = i.memory(t); c.image.count(needles) == 0 {
			break
		}
	}
	t.Logf("finds of identities in the issuing process: %d right after the enrolment, %d a minute later", before, c.image.count(needles))
	for _, n := range needles {
		for _, text := range c.image.around(n) {
			c.identities = append(c.identities, text)
			t.Log(text)
		}
	}
	full := e.of([capabilities]bool{vaultAdmin: true, allShares: true})
	for _, r := range e.rows {
		k1, k2 := full.unwrap(t, full.tokens, r.Label, r.FirstHalf), full.combine(nameHalf(r))
		if len(k1) != 1 || len(k2) < 2 {
			t.Fatal("the keys to search for are not known")
		}
		for _, k := range append(k2[1:], [32]byte(k1[0])) {
			if c.image.count(keyForms(k[:])) > 0 {
				c.keys = append(c.keys, k)
			}
		}
	}
	c.tokens = c.image.scan("hvs.", regexp.MustCompile(`^hvs\.[A-Za-z0-9_-]{20,200}`))
	c.databases = c.image.scan("postgres://", regexp.MustCompile(`^postgres://[!-~]{10,300}`))
	c.halves = c.image.scan("vault:v", regexp.MustCompile(`^vault:v[0-9]+:[A-Za-z0-9+/]{60,120}={0,2}`))
	c.seconds = c.image.secondHalves()
	t.Logf("in its memory: %d identities, %d keys, %d Vault tokens, %d database addresses, %d wrapped halves, %d second halves",
		len(c.identities), len(c.keys), len(c.tokens), len(c.databases), len(c.halves), len(c.seconds))
	return c
}

// A second half begins with its magic, its version and the length of its label: that
// of the record, a dot and the compartment.
const secondHalfMark = "C\x01\x00"

// secondHalves returns what looks like a second half with a whole label.
func (m image) secondHalves() (all [][]byte) {
	const size = 4 + 26 + len(".identity") + 160
	for _, region := range m {
		for at := 0; ; at++ {
			j := bytes.Index(region[at:], []byte(secondHalfMark))
			if at += j; j < 0 || at+size > len(region) {
				break
			}
			if found := region[at : at+size]; new(threshold.Ciphertext).UnmarshalBinary(found) == nil {
				all = append(all, found)
			}
		}
	}
	return all
}

// scan returns the distinct matches that begin with prefix.
func (m image) scan(prefix string, re *regexp.Regexp) (all []string) {
	for _, region := range m {
		for at := 0; ; at++ {
			j := bytes.Index(region[at:], []byte(prefix))
			if j < 0 {
				break
			}
			at += j
			if found := re.Find(region[at:min(len(region), at+400)]); found != nil && !slices.Contains(all, string(found)) {
				all = append(all, string(found))
			}
		}
	}
	return all
}

// TestSecurityDocumentShowsTheAttackers: the table in SECURITY.md is the one
// that TestSealedAgainst found.
func TestSecurityDocumentShowsTheAttackers(t *testing.T) {
	table, err := os.ReadFile(attackersFile)
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- attackers:begin -->\n", "<!-- attackers:end -->"
	_, rest, ok := strings.Cut(string(document), begin)
	shown, _, closed := strings.Cut(rest, end)
	if !ok || !closed || shown != string(table) {
		t.Errorf("SECURITY.md does not show %s between its markers: copy it there", attackersFile)
	}
}

// TestTheAttackersToolsWork: carving finds a sealed field in a memory image that
// holds one, so that "opens nothing" is not a broken tool's answer.
func TestTheAttackersToolsWork(t *testing.T) {
	pk, shares, err := escrowtest.ThresholdKey(world.Quorum, len(world.Custodians))
	if err != nil {
		t.Fatal(err)
	}
	var k1 []byte
	r, err := seal.Seal(t.Context(), seal.NewLabel(), map[string][]byte{"name": []byte("Nobody Atall")}, seal.Custodians{Key: pk, Compartments: map[string][]string{"identity": {"name"}}},
		func(_ context.Context, _ string, half []byte) (string, error) {
			k1 = slices.Clone(half)
			return "vault:v1:x", nil
		})
	if err != nil {
		t.Fatal(err)
	}
	l := loot{pk: pk, shares: shares, memory: &haul{image: image{slices.Concat([]byte("before"), r.Fields["name"], nameHalf(r), []byte("after"))}}}
	if seconds := l.memory.image.secondHalves(); len(seconds) != 1 || !bytes.Equal(seconds[0], nameHalf(r)) {
		t.Fatal("a second half is not recognised in memory")
	}
	found := ""
	for _, k2 := range l.combine(nameHalf(r)) {
		for _, name := range l.memory.find(r.Label, k1, k2) {
			found = name
		}
	}
	if found != "Nobody Atall" {
		t.Errorf("carved %q", found)
	}
	if names := openAny(r, k1, l.combine(nameHalf(r))); len(names) == 0 || names[0] != "Nobody Atall" {
		t.Errorf("opened %q", names)
	}
}
