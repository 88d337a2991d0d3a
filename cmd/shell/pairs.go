package shell

import (
	"net/url"
	"slices"
	"strings"
)

// Pairs reads the value of a flag that says several things, "id=my-app,name=My App". Each
// name is one of needed, all of which must be there, or of optional; a comma before anything
// else belongs to the value. What is wrong is a usage error.
func Pairs(flag, value string, needed []string, optional ...string) (url.Values, error) {
	known := slices.Concat(needed, optional)
	said, last := url.Values{}, ""
	for part := range strings.SplitSeq(value, ",") {
		name, text, ok := strings.Cut(part, "=")
		switch name = strings.TrimSpace(name); {
		case ok && slices.Contains(known, name):
			said.Add(name, strings.TrimSpace(text))
			last = name
		case last == "" || ok && !strings.ContainsAny(name, " :/?&"):
			return nil, UsageError("--%s has no %q: it takes %s", flag, name, strings.Join(known, ", "))
		default: // a comma in a name or an address
			of := said[last]
			of[len(of)-1] += "," + part
		}
	}
	for _, name := range needed {
		if said.Get(name) == "" {
			return nil, UsageError("--%s needs %s=: it takes %s", flag, name, strings.Join(known, ", "))
		}
	}
	return said, nil
}
