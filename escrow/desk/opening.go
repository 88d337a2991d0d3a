package desk

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Why the desk shows no certificate, or opens nothing.
var (
	ErrUnchecked = refusal.New(refusal.Conflict, "desk.folder_not_checked",
		"this folder was not checked on this desk, or has changed since: nothing of it is shown; check it first")
	ErrNoRequester = refusal.New(refusal.Invalid, "desk.no_requester_key",
		"this desk has no key to open packages with: nothing was opened; start it with --requester, or open the case where that key is")
)

// Openings is what an officer does with what was delivered: `escrow warrant open`, `escrow opening
// check` and sign. What was opened is in the memory of the program from the opening until it is
// put away or the desk is locked, and in the folder that was chosen; in no draft and no address.
type Openings struct {
	Free func(id string) string // a folder that is not there yet, for the package of a case
	// Open opens a case. What came of the package is in the folder kept, also if it was not opened.
	Open    func(ctx context.Context, id, folder string) (kept string, err error)
	Opened  func(id string) *Opened // nil: it was not opened since the desk was unlocked, or was put away
	PutAway func(id string)

	Folders     func() []Folder // those that the desk knows
	Folder      func(ref string) (f Folder, ok bool)
	Name        func(path string) (ref string, err error) // makes a folder known to the desk
	Check       func(ctx context.Context, ref string) (found string, err error)
	Sign        func(ctx context.Context, ref string, confirm func(shown string) error) (said string, err error)
	Certificate func(ref string) (page []byte, err error) // of one that was checked: [ErrUnchecked]
}

// Folder is one that an opening was saved in.
type Folder struct {
	Ref    string // in the desk's addresses, hex
	Path   string
	Signed bool // its certificate has a signature
}

// Opened is what was opened of a case.
type Opened struct {
	Ref, Folder string
	Targets     []OpenedTarget
	Proofs      string // where the public log and the custodians' decisions are
	Refused     error  // why some of it stays sealed; nil: nothing does, or the registrar said so
}

// OpenedTarget is who enrolled under a pen name.
type OpenedTarget struct {
	PenName, Platform string
	Sealed            string      // why it stays sealed; "": it was opened
	Identity          [][2]string // what a field is called, and what it holds; the name first
	Linked            []string    // all pen names of that person, by an order to link
}

var aRef = regexp.MustCompile(`^[0-9a-f]{16}$`)

// openingRoutes are the pages of openings at an officer's desk.
func (d *Desk) openingRoutes() {
	form := func(r *http.Request) string { return "/case/" + r.PathValue("case") + "/open" }
	d.page("/case/{case}/open", d.showOpen)
	d.page("/case/{case}/opened", d.showOpened)
	d.fill("/case/{case}/open", form, d.openCase)
	d.act("/case/{case}/away", func(r *http.Request) string { return "/case/" + r.PathValue("case") }, d.putAway)

	folder := func(r *http.Request) string { return "/openings/" + r.PathValue("ref") }
	d.page("/openings", d.showFolders)
	d.page("/openings/{ref}", d.showFolder)
	d.page("/openings/{ref}/sign", d.showFolderSigned)
	d.page("/openings/{ref}/certificate", d.certificate)
	d.fill("/openings", fixed("/openings"), d.nameFolder)
	d.act("/openings/{ref}/check", folder, d.checkFolder)
	d.act("/openings/{ref}/sign", folder, d.prepareFolder)
	d.signed("/openings/{ref}/agree", folder, d.signFolder)
}

// isOpeningForm reports whether that path is of a form about an opening.
func isOpeningForm(path string) bool {
	id, isCase := strings.CutSuffix(strings.TrimPrefix(path, "/case/"), "/open")
	ref, isFolder := strings.CutPrefix(path, "/openings/")
	return path == "/openings" || isCase && caseID.MatchString(id) || isFolder && aRef.MatchString(ref)
}

// showOpen asks where the opening is kept.
func (d *Desk) showOpen(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("case")
	if !caseID.MatchString(id) {
		d.missing(w, r)
		return
	}
	form := "/case/" + id + "/open"
	f := d.draft(form)
	folder := f.values.Get("folder")
	if folder == "" {
		folder = d.Officer.Openings.Free(id)
	}
	typing := ""
	if d.Officer.Cases.Opens {
		typing = form
	}
	d.render(w, r, "open", page{Title: Say("Open the case"), Problem: f.problem, Said: f.said, At: "cases", Typing: typing, Data: struct {
		ID, Folder, To string
		Opens          bool
		Problem        *problem
	}{id, folder, form, d.Officer.Cases.Opens, f.problem}})
}

// openCase fetches the package, checks it, opens it and saves it.
func (d *Desk) openCase(ctx context.Context, r *http.Request) string {
	id := r.PathValue("case")
	if !caseID.MatchString(id) {
		return "/cases"
	}
	form := "/case/" + id + "/open"
	f, err := d.typed(form, r)
	folder := strings.TrimSpace(f.values.Get("folder"))
	if err == nil && folder == "" {
		d.faulty(form, f, []fault{faultAt("folder", Say("Say in which folder it is kept."))})
		return form + "#problem"
	}
	kept := ""
	if err == nil {
		kept, err = d.Officer.Openings.Open(ctx, id, folder)
	}
	if o := d.Officer.Openings.Opened(id); err != nil && (o == nil || o.Folder != kept) { // nothing was opened now
		if f.problem = d.problemOf(err); kept != "" {
			f.values.Del("folder") // it is not free any more
			f.said = Say("What came is kept in %s. It was not opened.", kept)
			if _, none := os.Lstat(filepath.Join(kept, opening.FileRevealed)); none == nil {
				f.said = Say("What came is kept in %s. It was opened, and is not shown here: names may be in that folder.", kept)
			}
		}
		d.keep(form, f)
		return form + "#problem"
	}
	d.keep(form, &draft{})
	return "/case/" + id + "/opened"
}

// leaves has the browser leave a page by itself when the desk is locked without use, to one that
// names nobody.
func (d *Desk) leaves(w http.ResponseWriter, to string) {
	w.Header().Set("Refresh", strconv.Itoa(int(d.Idle.Seconds())+1)+"; url="+d.prefix+to)
}

// showOpened shows what was opened, while it is on the desk.
func (d *Desk) showOpened(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("case")
	if !caseID.MatchString(id) {
		d.missing(w, r)
		return
	}
	o := d.Officer.Openings.Opened(id)
	if o == nil {
		d.redirect(w, r, "/case/"+id)
		return
	}
	p := page{Title: Say("What was opened"), At: "cases", Data: struct {
		*Opened
		ID      string
		Minutes Text
	}{o, id, lasts(d.Idle)}}
	if o.Refused != nil {
		p.Problem = d.problemOf(o.Refused)
	}
	d.leaves(w, "/case/"+id)
	d.render(w, r, "opened", p)
}

// putAway takes what was opened off the desk.
func (d *Desk) putAway(_ context.Context, r *http.Request) string {
	id := r.PathValue("case")
	if !caseID.MatchString(id) {
		return "/cases"
	}
	d.Officer.Openings.PutAway(id)
	d.keep("/case/"+id, &draft{said: Say("What was opened is off the desk. It is in its folder, with the certificate.")})
	return "/case/" + id
}

// showFolders lists the folders that openings were saved in.
func (d *Desk) showFolders(w http.ResponseWriter, r *http.Request) {
	f := d.draft("/openings")
	d.render(w, r, "folders", page{Title: Say("Openings"), Problem: f.problem, At: "openings", Typing: "/openings", Data: struct {
		Folders []Folder
		Typed   string
		Problem *problem
	}{d.Officer.Openings.Folders(), f.values.Get("folder"), f.problem}})
}

// nameFolder takes a folder that somebody typed.
func (d *Desk) nameFolder(_ context.Context, r *http.Request) string {
	f, err := d.typed("/openings", r)
	ref := ""
	if err == nil {
		ref, err = d.Officer.Openings.Name(strings.TrimSpace(f.values.Get("folder")))
	}
	if err != nil {
		f.problem = d.problemOf(err)
		f.problem.Fields = []fault{faultAt("folder", Say("Name the folder that the opening was saved in."))}
		d.keep("/openings", f)
		return "/openings#problem"
	}
	d.keep("/openings", &draft{})
	return "/openings/" + ref
}

// folder is that of a request; it answers who asks for another one.
func (d *Desk) folder(w http.ResponseWriter, r *http.Request) (f Folder, ok bool) {
	if ref := r.PathValue("ref"); aRef.MatchString(ref) {
		f, ok = d.Officer.Openings.Folder(ref)
	}
	if !ok {
		d.missing(w, r)
	}
	return f, ok
}

// showFolder says what can be done with the folder of an opening.
func (d *Desk) showFolder(w http.ResponseWriter, r *http.Request) {
	folder, ok := d.folder(w, r)
	if !ok {
		return
	}
	f := d.draft("/openings/" + folder.Ref)
	_, err := d.Officer.Openings.Certificate(folder.Ref)
	d.render(w, r, "folder", page{Title: Say("An opening"), Problem: f.problem, Said: f.said, At: "openings", Data: struct {
		Folder
		Checked, Signs bool
		Minutes        Text
	}{folder, err == nil, d.Officer.Cases.Signs, lasts(d.Idle)}})
}

// checkFolder checks the folder as `escrow opening check` does.
func (d *Desk) checkFolder(ctx context.Context, r *http.Request) string {
	ref := r.PathValue("ref")
	if !aRef.MatchString(ref) {
		return "/openings"
	}
	found, err := d.Officer.Openings.Check(ctx, ref)
	f := &draft{said: elsewhere(found)}
	if err != nil {
		f.problem = d.problemOf(err)
	}
	d.keep("/openings/"+ref, f)
	return "/openings/" + ref
}

func (d *Desk) prepareFolder(ctx context.Context, r *http.Request) string {
	return d.certify(ctx, r, "")
}

func (d *Desk) signFolder(ctx context.Context, r *http.Request) string {
	return d.certify(ctx, r, r.PostForm.Get("agreed"))
}

// certify signs the certificate of a folder, if agreed is what it was shown; "": shows it.
func (d *Desk) certify(ctx context.Context, r *http.Request, agreed string) string {
	ref := r.PathValue("ref")
	if !aRef.MatchString(ref) {
		return "/openings"
	}
	form := "/openings/" + ref
	d.confirmed(form, agreed, &draft{}, func(confirm func(string) error) (string, error) {
		return d.Officer.Openings.Sign(ctx, ref, confirm)
	})
	if d.draft(form).shown != "" {
		return form + "/sign"
	}
	return form
}

// showFolderSigned shows what will be signed of a folder.
func (d *Desk) showFolderSigned(w http.ResponseWriter, r *http.Request) {
	folder, ok := d.folder(w, r)
	if !ok {
		return
	}
	form := "/openings/" + folder.Ref
	f := d.draft(form)
	if f.shown == "" {
		d.redirect(w, r, form)
		return
	}
	d.leaves(w, form)
	d.render(w, r, "agree", page{Title: Say("Sign the certificate?"), Problem: f.problem, At: "openings", Data: agreeing{confirming{f.shown, f.agreement(f.shown), form + "/agree", form}, Say("Nothing is signed yet. Read it, and the certificate's page, and sign it if it is right."), Say("Sign it")}})
}

// policyOfCertificate is that of the page that the product makes for print: it has a style in it,
// leads nowhere, and can do nothing. It is of the desk's origin, so that it can leave for another page of it.
const policyOfCertificate = "sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// certificate serves the page of a certificate as it lies in its folder: nothing of the desk is on
// it, and it prints as it does without the desk.
func (d *Desk) certificate(w http.ResponseWriter, r *http.Request) {
	folder, ok := d.folder(w, r)
	if !ok {
		return
	}
	content, err := d.Officer.Openings.Certificate(folder.Ref)
	if err != nil {
		d.keep("/openings/"+folder.Ref, &draft{problem: d.problemOf(err)})
		d.redirect(w, r, "/openings/"+folder.Ref)
		return
	}
	d.leaves(w, "/openings/"+folder.Ref)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policyOfCertificate)
	w.Write(content) //nolint:errcheck // to somebody who left
}
