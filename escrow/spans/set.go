package spans

import "github.com/penname/penname/escrow/registrar"

// Name is what a span is called. Whoever has one has it from this package: nothing that
// comes with a request, and no text that is not here, becomes one.
type Name struct{ text string }

// Fact is what a span says beside its name, likewise.
type Fact struct{ key, value string }

// How a request ended.
var (
	Answered = Fact{"outcome", "answered"}
	Refused  = Fact{"outcome", "refused"}
	Failed   = Fact{"outcome", "failed"} // on our side
)

// facts are all that there are.
var facts = []Fact{Answered, Refused, Failed, {"db.system.name", "postgresql"}}

// routes are those at which a trace begins. Those of an objection are not among them: a
// person's lawyer comes there for them.
var routes = named(
	"GET "+registrar.PathBundle, "GET "+registrar.PathBundles, "GET "+registrar.PathEndorsed,
	"GET "+registrar.PathPlatforms, "GET "+registrar.PathPlatform,
	"POST "+registrar.PathWarrants, "GET "+registrar.PathWarrant, "GET "+registrar.PathPackage, "POST "+registrar.PathDeletion,
	"GET "+registrar.PathExhibits, "PUT "+registrar.PathExhibit, "GET "+registrar.PathExhibit, "PUT "+registrar.PathShort, "GET "+registrar.PathShort,
	"PUT "+registrar.PathCopy, "GET "+registrar.PathCopy,
	"POST "+registrar.PathMine, "GET "+registrar.PathObjections, "POST "+registrar.PathSaid,
	"GET "+registrar.PathCases, "GET "+registrar.PathCase, "POST "+registrar.PathDecisions, "POST "+registrar.PathStatements,
	"POST "+registrar.PathAbsences, "GET "+registrar.PathAbsences,
	"GET "+registrar.PathMessages, "POST "+registrar.PathMessages, "GET "+registrar.PathTranscript,
	"GET "+registrar.PathLog+"/*",
)

// calls are those of Vault, by the operations of package vault.
var calls = named("vault decrypt", "vault encrypt", "vault hmac", "vault keys", "vault rewrap", "vault other")

// statements are what otelpgx calls a span: the first word of a statement, or what it does
// besides.
var statements = named("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "SET", "LOCK",
	"BEGIN", "COMMIT", "ROLLBACK", "connect", "pool.acquire", "batch start")

// OfRoute is the name of a route at which a trace begins.
func OfRoute(route string) (Name, bool) {
	n, ok := routes[route]
	return n, ok
}

// OfCall is the name of a call of Vault, by its operation.
func OfCall(operation string) Name { return calls["vault "+operation] }

// known tells whether a span may be called that.
func known(text string) bool {
	for _, names := range []map[string]Name{routes, calls, statements} {
		if _, ok := names[text]; ok {
			return true
		}
	}
	return false
}

func named(texts ...string) map[string]Name {
	all := make(map[string]Name, len(texts))
	for _, text := range texts {
		all[text] = Name{text}
	}
	return all
}
