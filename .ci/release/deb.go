package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"golang.org/x/mod/module"

	escrow "github.com/penname/penname/cmd/escrow/command"
	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/postgres"
)

const (
	maintainer = "Penname <security@penname.example>"
	homepage   = "https://github.com/penname/penname"
)

// folder is a package before it is packed: its files under the names that they will have.
type folder struct {
	root string
	at   time.Time
	err  error // the first; all that comes after does nothing
}

func (f *folder) put(name string, mode fs.FileMode, content []byte) {
	full := filepath.Join(f.root, name)
	f.err = errors.Join(f.err, os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, content, mode))
}

// copy puts a file of this repository.
func (f *folder) copy(name string, mode fs.FileMode, source string) {
	b, err := os.ReadFile(source)
	f.err = errors.Join(f.err, err)
	f.put(name, mode, b)
}

// pack puts a file as `gzip -9n` packs it.
func (f *folder) pack(name string, content []byte) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	f.err = errors.Join(f.err, err)
	_, err = w.Write(content)
	f.err = errors.Join(f.err, err, w.Close())
	f.put(name+".gz", 0o644, b.Bytes())
}

// packages makes the packages of all programs.
func (r *release) packages(ctx context.Context, work string) error {
	for _, p := range r.issued {
		f := &folder{root: filepath.Join(work, p.name+"-"+p.arch), at: r.at}
		info := &nfpm.Info{Arch: p.arch, Section: "net"}
		f.copy("usr/bin/"+p.name, 0o755, p.path)
		if p.name == "escrow" {
			r.tools(f, info)
		} else {
			r.service(f, info, filepath.Join(work, "scripts-"+p.arch))
		}
		if err := r.documents(ctx, f, info, p); err != nil {
			return err
		}
		if err := r.deb(f, info); err != nil {
			return err
		}
	}
	return nil
}

// tools is what everybody outside uses, with the unit of a custodian's witness.
func (r *release) tools(f *folder, info *nfpm.Info) {
	info.Name = "penname-tools"
	info.Description = "courts, custodians, witnesses and auditors of a Penname service\n" +
		"Penname lets people speak under pen names that nobody can link, and answer\n" +
		"for what they say. This is the program of everybody outside the service:\n" +
		"clerks write and file warrants, custodians review them on their own machines,\n" +
		"witnesses cosign the public log, and anybody audits it. It contains no line\n" +
		"of the server."
	info.Recommends = []string{"ca-certificates"}
	r.manual(f, escrow.Commands(), "1")
	r.unit(f, "usr/lib/systemd/user", "escrow-witness.service", "escrow-witness.service")
	f.copy("usr/share/doc/penname-tools/evidence.md", 0o644, "deploy/evidence.md")
	f.copy("usr/share/doc/penname-tools/orders.md", 0o644, "deploy/orders.md")
}

// service is escrowd with a unit and a user for each side.
func (r *release) service(f *folder, info *nfpm.Info, scripts string) {
	info.Name = "penname-escrowd"
	info.Description = "pseudonyms that are unlinkable, and open only under a logged warrant\n" +
		"Penname lets people speak under pen names that nobody can link, and answer\n" +
		"for what they say. This is the service, and what its operator does beside it.\n" +
		"Each side of it (issuing, disclosing, keeping) has a unit and a user of its\n" +
		"own. Installing it starts nothing: a side has no configuration yet."
	info.Depends = []string{"procps", "systemd (>= 247) | systemd-standalone-sysusers", "systemd (>= 247) | systemd-standalone-tmpfiles"}
	info.Recommends = []string{"ca-certificates", "penname-tools"}
	info.Suggests = []string{"postgresql", "haproxy | nginx"}
	r.manual(f, escrowd.Commands(), "8")
	for _, side := range []string{"issuing", "disclosing", "keeping"} {
		r.unit(f, "lib/systemd/system", "penname-"+side+"@.service", "penname@.service")
	}
	r.unit(f, "lib/systemd/system", "penname-snapshot.service", "penname-snapshot.service")
	r.unit(f, "lib/systemd/system", "penname-snapshot.timer", "penname-snapshot.timer")
	f.copy("usr/lib/sysusers.d/penname-escrowd.conf", 0o644, "deploy/debian/sysusers.conf")
	f.copy("usr/lib/tmpfiles.d/penname-escrowd.conf", 0o644, "deploy/debian/tmpfiles.conf")
	examples := "usr/share/doc/penname-escrowd/examples/"
	for _, name := range []string{"escrowd.toml", "haproxy/haproxy.cfg", "nginx/nginx.conf", "logrotate/vault-audit", "prometheus/alerts.yml", "grafana/duties.json", "grafana/state.json", "vault-policies/penname-snapshot.hcl",
		"cluster/etcd.yml", "cluster/haproxy.cfg", "cluster/patroni.yml", "cluster/pgbouncer.ini", "cluster/vault.hcl", "container/compose.yaml"} {
		f.copy(examples+name, 0o644, "deploy/"+name)
	}
	handbook, err := os.ReadFile("deploy/README.md")
	f.err = errors.Join(f.err, err)
	f.pack("usr/share/doc/penname-escrowd/handbook.md", handbook)
	schema, err := postgres.SchemaVersion()
	f.err = errors.Join(f.err, err, os.MkdirAll(scripts, 0o755))
	for name, at := range map[string]*string{"preinst": &info.Scripts.PreInstall, "postinst": &info.Scripts.PostInstall, "prerm": &info.Scripts.PreRemove, "postrm": &info.Scripts.PostRemove} {
		text, err := os.ReadFile("deploy/debian/" + name)
		*at = filepath.Join(scripts, name)
		text = []byte(strings.NewReplacer("@SCHEMA@", strconv.FormatInt(schema, 10), "@VERSION@", r.debian()).Replace(string(text)))
		f.err = errors.Join(f.err, err, os.WriteFile(*at, text, 0o755))
	}
}

// unit puts a unit of deploy/systemd, which names the programs where the handbook puts
// them, with the place where the package puts them.
func (r *release) unit(f *folder, dir, name, source string) {
	b, err := os.ReadFile("deploy/systemd/" + source)
	f.err = errors.Join(f.err, err)
	f.put(filepath.Join(dir, name), 0o644, bytes.ReplaceAll(b, []byte("/usr/local/bin/"), []byte("/usr/bin/")))
}

// manual puts a page for each command, and what completes them in three shells.
func (r *release) manual(f *folder, root *cobra.Command, section string) {
	root.Version, root.DisableAutoGenTag = r.version, true
	root.InitDefaultVersionFlag() // else it comes when the program runs, and no page has it
	pages := f.root + ".pages"
	f.err = errors.Join(f.err, os.MkdirAll(pages, 0o755), doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{
		Path: pages, CommandSeparator: "-", Header: &doc.GenManHeader{Section: section, Date: &r.at, Source: "Penname " + r.plain(), Manual: "Penname"},
	}))
	all, err := filepath.Glob(pages + "/*")
	f.err = errors.Join(f.err, err)
	for _, page := range all {
		b, err := os.ReadFile(page)
		f.err = errors.Join(f.err, err)
		f.pack("usr/share/man/man"+section+"/"+filepath.Base(page), b)
	}
	for name, script := range map[string]func(*bytes.Buffer) error{
		"usr/share/bash-completion/completions/" + root.Name():         func(b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"usr/share/zsh/vendor-completions/_" + root.Name():             func(b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"usr/share/fish/vendor_completions.d/" + root.Name() + ".fish": func(b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
	} {
		var b bytes.Buffer
		f.err = errors.Join(f.err, script(&b))
		f.put(name, 0o644, b.Bytes())
	}
}

// documents puts what every package has: changes, licences, and what lintian is to accept.
func (r *release) documents(ctx context.Context, f *folder, info *nfpm.Info, p program) error {
	of := "usr/share/doc/" + info.Name + "/"
	f.pack(of+"changelog.Debian", fmt.Appendf(nil, "%s (%s) stable; urgency=medium\n\n  * Release %s: see changelog.gz.\n\n -- %s  %s\n",
		info.Name, r.debian(), r.version, maintainer, r.at.Format(time.RFC1123Z)))
	changes, err := os.ReadFile("CHANGELOG.md")
	if err == nil {
		changes, err = r.changes(changes)
	}
	if err != nil {
		return err
	}
	f.pack(of+"changelog", changes)
	f.copy(of+"copyright", 0o644, "deploy/debian/copyright")
	f.copy("usr/share/lintian/overrides/"+info.Name, 0o644, "deploy/debian/"+info.Name+".lintian-overrides")
	notices, err := notices(ctx, p.path)
	f.pack(of+"third-party", notices)
	return errors.Join(err, f.err)
}

// changes are those of the changelog, of which the newest, that say "Unreleased" until then, are
// the release's.
func (r *release) changes(log []byte) ([]byte, error) {
	own, next := []byte("\n## "+r.version), []byte("\n## Unreleased\n")
	if at := bytes.Index(log, []byte("\n## ")); at >= 0 {
		switch newest := log[at:]; {
		case bytes.HasPrefix(newest, next):
			log = bytes.Replace(log, next, fmt.Appendf(nil, "%s, %s\n", own, r.at.UTC().Format(time.DateOnly)), 1)
		case !bytes.HasPrefix(newest, append(own, '\n')) && !bytes.HasPrefix(newest, append(own, ',')):
			return nil, fmt.Errorf("the newest changes in CHANGELOG.md are neither of %s nor Unreleased", r.version)
		}
	}
	if bytes.Contains(log, next) {
		return nil, errors.New("CHANGELOG.md has Unreleased changes below others")
	}
	return log, nil
}

// notices are the licences of the modules that a program is made of, which go with it.
func notices(ctx context.Context, program string) ([]byte, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	cache, err := said(ctx, "go", "env", "GOMODCACHE")
	if err != nil {
		return nil, err
	}
	goroot, err := said(ctx, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	folders := map[string]string{"go " + info.GoVersion: goroot}
	order := []string{"go " + info.GoVersion}
	for _, m := range info.Deps {
		path, err := module.EscapePath(m.Path)
		if err != nil {
			return nil, err
		}
		name := m.Path + " " + m.Version
		folders[name], order = filepath.Join(cache, path+"@"+m.Version), append(order, name)
	}
	var b bytes.Buffer
	for _, name := range order {
		found := 0
		for _, pattern := range []string{"LICENSE*", "LICENCE*", "COPYING*", "NOTICE*"} {
			all, err := filepath.Glob(filepath.Join(folders[name], pattern))
			if err != nil {
				return nil, err
			}
			for _, file := range all {
				text, err := os.ReadFile(file)
				if err != nil {
					continue // a folder
				}
				found++
				fmt.Fprintf(&b, "== %s, %s\n\n%s\n\n", name, filepath.Base(file), bytes.TrimSpace(text))
			}
		}
		if found == 0 {
			return nil, fmt.Errorf("%s has no licence, so nothing says that it may be passed on", name)
		}
	}
	return b.Bytes(), nil
}

// debian is the version as dpkg compares it: v1.4.0-rc.1 comes before v1.4.0.
func (r *release) debian() string {
	return strings.Replace(r.plain(), "-", "~", 1) + "-1"
}

// deb packs a folder.
func (r *release) deb(f *folder, info *nfpm.Info) error {
	info.Platform, info.Version, info.VersionSchema = "linux", r.debian(), "none"
	info.Maintainer, info.Homepage, info.Priority, info.MTime = maintainer, homepage, "optional", r.at
	info.DisableGlobbing = true
	info.Deb.Compression = "xz"
	if r.trial {
		info.Deb.Compression = "gzip" // in a tenth of the time
	}
	err := filepath.WalkDir(f.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		info.Contents = append(info.Contents, &files.Content{
			Source: name, Destination: strings.TrimPrefix(name, f.root), FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: i.Mode().Perm(), MTime: r.at},
		})
		return nil
	})
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	out, err := os.Create(filepath.Join(r.out, fmt.Sprintf("%s_%s_%s.deb", info.Name, r.debian(), info.Arch)))
	if err != nil {
		return err
	}
	return errors.Join(deb.Default.Package(info, out), out.Close())
}
