// Package sandbox holds the stand-ins with which a whole Penname runs on one
// machine: test people with an identity provider, a PostgreSQL of its own and a
// local keyring in the place of Vault. None of it guards anything real, and none
// of it is reachable from another machine: a production configuration that
// names a part of it is refused.
//
// Package world puts them together. They are apart from it because the tests of
// the adapters, which the world is made of, stand on them too.
package sandbox

// Assurance levels of the sandbox's identity provider, as acr values.
const (
	ACRVerified     = "urn:penname:sandbox:verified"      // documents were checked
	ACRSelfAsserted = "urn:penname:sandbox:self-asserted" // typed in by the person
)

// Person is a test person. All of them are invented, and their addresses lie in
// places that do not exist; their fields are plain strings so that a test can
// search for them wherever they must not be.
type Person struct {
	Subject   string // the provider's sub
	Role      string // what the person is in the story; not a claim
	Name      string
	Birthdate string // YYYY-MM-DD
	Address   string // lines separated by \n
	Email     string // at a domain reserved by RFC 2606
	ACR       string // ACRVerified or ACRSelfAsserted

	Country, Profession, Organisation string // claims beside the identity; may be empty
}

// People returns the test people of the sandbox: Jo the teacher, the troll, the
// MP, a neighbour, and one whom nobody has verified, in this order.
func People() []Person {
	return []Person{
		{"sandbox-5d1f0c7a", "a teacher", "Jo Hartley", "1986-03-14", "14 Lapwing Close\nThornley Vale\nTV4 7QX", "jo.hartley@school.example", ACRVerified, "GB", "teacher", "Thornley Vale School"},
		{"sandbox-a83e2b96", "a troll", "Dexter Crallow", "1991-11-02", "3 Gasworks Yard\nNether Brindle\nNB1 9ZZ", "dcrallow@mail.example", ACRVerified, "GB", "welder", ""},
		{"sandbox-17c94fd0", "a member of parliament", "Imogen Tavistock-Rao", "1974-06-21", "The Old Forge\nUpper Quillham\nUQ2 1AA", "imogen.tavistock-rao@parliament.example", ACRVerified, "GB", "member of parliament", "Parliament"},
		{"sandbox-e06b51d8", "a neighbour", "Bartholomew Okwuosa", "1959-01-30", "16 Lapwing Close\nThornley Vale\nTV4 7QX", "b.okwuosa@mail.example", ACRVerified, "GB", "", ""},
		{"sandbox-42f7a90e", "not verified: Penname refuses her", "Lorelei Nobbs", "2001-09-09", "1 Made Up Street\nNowhere\nNW0 0WN", "lorelei.nobbs@mail.example", ACRSelfAsserted, "GB", "", ""},
	}
}
