package token_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penname/penname/verifier/token"
)

// beyondSchema are the faults of which the schema's description says that it cannot show them.
var beyondSchema = []string{
	"repeated", "repeated, escaped", "repeated within", "an exhibit twice", "a user's name", "made before the post", "before the sign-in", "days after", "another platform",
}

// The schema and the reader agree: what is good fits, what is not does not.
func TestSchemaIsWhatIsRead(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal([]byte(token.EvidenceSchema), &schema); err != nil {
		t.Fatal(err)
	}
	piece := schema
	for _, name := range []string{"properties", "post", "properties", "exhibits", "items", "properties", "type"} {
		piece = piece[name].(map[string]any)
	}
	var types []string
	for _, name := range piece["enum"].([]any) {
		types = append(types, name.(string))
	}
	if !slices.Equal(types, token.ExhibitTypes()) {
		t.Errorf("the schema has the types %q, the reader takes %q", types, token.ExhibitTypes())
	}
	payload := evidencePayload()
	for name, change := range spellings {
		if !fitsText(t, schema, change.of(payload)) {
			t.Errorf("%s does not fit", name)
		}
	}
	for name, change := range faults {
		if fits := fitsText(t, schema, change.of(payload)); fits != slices.Contains(beyondSchema, name) {
			t.Errorf("%s fits: %v", name, fits)
		}
	}
}

func fitsText(t *testing.T, schema map[string]any, payload string) bool {
	t.Helper()
	var v any
	if json.Unmarshal([]byte(payload), &v) != nil {
		return false
	}
	return fits(t, schema, v)
}

// fits judges v by the keywords that the schema has (JSON Schema 2020-12); another one
// fails the test.
func fits(t *testing.T, schema map[string]any, v any) bool {
	t.Helper()
	object, _ := v.(map[string]any)
	array, isArray := v.([]any)
	text, isText := v.(string)
	number, isNumber := v.(float64)
	good := true
	for keyword, said := range schema {
		ok := true
		switch keyword {
		case "$schema", "title", "description", "then": // then: with if
		case "type":
			ok = map[string]bool{"object": object != nil, "array": isArray, "string": isText, "integer": isNumber && number == float64(int64(number))}[said.(string)]
		case "const":
			ok = reflect.DeepEqual(v, said)
		case "enum":
			ok = slices.Contains(said.([]any), v)
		case "required":
			for _, name := range said.([]any) {
				_, there := object[name.(string)]
				ok = ok && there
			}
		case "properties":
			for name, of := range said.(map[string]any) {
				if inner, there := object[name]; there {
					ok = ok && fits(t, of.(map[string]any), inner)
				}
			}
		case "additionalProperties":
			known := schema["properties"].(map[string]any)
			for name := range object {
				_, there := known[name]
				ok = ok && there
			}
		case "items":
			for _, inner := range array {
				ok = ok && fits(t, said.(map[string]any), inner)
			}
		case "if":
			ok = !fits(t, said.(map[string]any), v) || fits(t, schema["then"].(map[string]any), v)
		case "pattern":
			ok = !isText || regexp.MustCompile(said.(string)).MatchString(text)
		case "minLength":
			ok = !isText || utf8.RuneCountInString(text) >= int(said.(float64))
		case "maxLength":
			ok = !isText || utf8.RuneCountInString(text) <= int(said.(float64))
		case "uniqueItems":
			seen := make(map[any]bool)
			for _, inner := range array {
				ok = ok && !seen[inner]
				seen[inner] = true
			}
		case "minItems":
			ok = !isArray || len(array) >= int(said.(float64))
		case "maxItems":
			ok = !isArray || len(array) <= int(said.(float64))
		case "minimum":
			ok = !isNumber || number >= said.(float64)
		case "maximum":
			ok = !isNumber || number <= said.(float64)
		default:
			t.Fatalf("this test does not know %q", keyword)
		}
		good = good && ok
	}
	return good
}

// evidencePayload is good evidence of version 2.
func evidencePayload() string {
	return `{"version":2,"iss":"town-square","iat":1772366520,"token":"` + issued(token.TypAccess, "") + `","post":{"url":"https://town.example/p/17","at":1772366460,` +
		`"exhibits":[{"type":"text/plain","sha256":"` + strings.Repeat("cd", 32) + `","length":28}]}}`
}
