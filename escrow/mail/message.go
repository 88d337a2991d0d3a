package mail

import (
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode"

	"github.com/penname/penname/verifier/languages"
)

// text is what a kind of mail says: the same to everybody who reads the same language.
// %[1]s is the origin, %[2]s the code.
type text struct{ subject, body string }

var waits = text{"Something waits for you at Penname", `Something waits for you on your own page at Penname.

To read it, open %[1]s/me in your browser and sign in.
It may concern a time limit, so do not leave it long.

This mail says no more on purpose: others may read it. It has no link that signs
you in, and nobody from Penname asks for a password by mail. Nobody reads answers to
it. You get it because this address was confirmed on that page, where you can
change or remove it.
`}

var texts = map[Kind]text{
	Notice:      waits,
	NoticeFirst: waits,
	Confirm: {"Your code for Penname", `Somebody who is signed in at %[1]s entered this address, to be told
there when something waits. If it was you, type this code on the page where you
entered it:

    %[2]s

It is good for an hour. If it was not you, do nothing: without the code nothing
more is sent here.
`},
	Changed: {"Penname does not write here any more", `This address was removed from a page at %[1]s, or another one was put in
its place. Nothing more is sent here. If it was not you, open %[1]s/me
in your browser, sign in, and look at your devices and your address.
`},
	Recovery: {"Somebody asks to sign in without a passkey", `Somebody proved your identity at %[1]s without one of your passkeys. Nobody
is signed in by that: for three days it waits.

If it was not you, open %[1]s/me in your browser, sign in with a passkey,
and press "Cancel it" there. Then speak to your identity provider: somebody else may
use your account there. If it was you, do nothing, and prove your identity again when
the three days are over.

This mail has no link that signs you in, and nobody from Penname asks for a password by
mail. Nobody reads answers to it.
`},
	Keys: {"How you sign in to Penname has changed", `On your page at %[1]s a passkey was added or removed, or somebody was
signed in without a passkey after the wait of three days.

If it was you, do nothing. If it was not you, open %[1]s/me in your browser,
sign in, sign out everywhere, and remove the passkeys there that you do not know. Then
speak to your identity provider: somebody else may use your account there.

This mail has no link that signs you in, and nobody from Penname asks for a password by
mail. Nobody reads answers to it.
`},
}

// reminder is to parties of the bundle, who read English.
var reminder = text{"Something waits for you at Penname", `Something waits for you in a case at %[1]s, and it has a time limit.

Look at your cases as you always do, on your own machine. This mail says no more on
purpose: others may read it. Nobody reads answers to it, and whoever operates
%[1]s can stop it or send it elsewhere.
`}

// in is a text in a language; the English follows where nobody has checked the other one.
func (t text) in(l *languages.Language) text {
	said := text{l.Text(t.subject), l.Text(t.body)}
	if !l.Reviewed {
		said.body += "\n" + l.Text("Nobody who speaks this language has checked these texts yet. What counts is the English text.") + "\n\n" + t.body
	}
	return said
}

// CodeDigits is how long the code of a [Confirm] is.
const CodeDigits = 8

// Message is a mail as it is sent. It is ASCII, and nothing in it is anybody's free text: an
// address is what [ParseAddress] lets be one, and a code is digits. A language with other
// letters is written as RFC 2047 and RFC 2045, 6.7 (quoted-printable) say.
func Message(l Letter, from Address, origin string, now time.Time) []byte {
	of, ok := texts[l.Kind]
	if !ok {
		of = reminder
	} else if in := languages.Ours.Tagged(l.Language); in != nil {
		of = of.in(in)
	}
	_, domain, _ := strings.Cut(from.Reveal(), "@")
	headers := [][2]string{
		{"From", "Penname <" + from.Reveal() + ">"},
		{"To", "<" + l.To.Reveal() + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", of.subject)},
		{"Date", now.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + hex.EncodeToString(l.ID[:]) + "@" + domain + ">"}, // of every try
		{"Auto-Submitted", "auto-generated"},                                   // RFC 3834, 5: no answer by a machine
		{"MIME-Version", "1.0"},
	}
	body := strings.ReplaceAll(fmt.Sprintf(of.body+"%[3]s", origin, l.Code, ""), "\n", "\r\n") // the last verb: a text need not use them all
	if isASCII(body) {
		headers = append(headers, [2]string{"Content-Type", "text/plain; charset=us-ascii"})
	} else {
		headers = append(headers, [2]string{"Content-Language", l.Language}, [2]string{"Content-Type", "text/plain; charset=utf-8"}, [2]string{"Content-Transfer-Encoding", "quoted-printable"})
		body = quoted(body)
	}
	var b strings.Builder
	for _, header := range headers {
		b.WriteString(header[0] + ": " + header[1] + "\r\n")
	}
	return []byte(b.String() + "\r\n" + body)
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}

// quoted is a text of lines as RFC 2045, 6.7.
func quoted(text string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return b.String()
}
