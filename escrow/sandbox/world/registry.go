package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/policy"
)

// registration is a platform that the world registers, with the key of its evidence.
type registration struct {
	openid.Platform
	evidence jose.JSONWebKey
}

// registry is who registers the world's platforms: nobody waits in a sandbox.
func (w *World) registry() (*policy.Registry, error) {
	key, err := w.key("registry")
	if err != nil {
		return nil, err
	}
	keys, err := publicSet(key)
	return &policy.Registry{Keys: keys}, err
}

// publicSet is a JWKS of the public half of one key.
func publicSet(key jose.JSONWebKey) (json.RawMessage, error) {
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
}

// client is a platform of whoever tries the sandbox, which can sign evidence with the key
// in Dir.
func (f *founding) client(c Client) (r registration, err error) {
	r.Platform = openid.Platform{ID: c.ID, Name: c.Name, RedirectURIs: c.RedirectURIs, Native: c.Native, JWKS: c.Keys, IDTokenAlg: jose.SignatureAlgorithm(c.IDTokenAlg),
		Username: c.Username, Email: c.Email,
		PostLogoutRedirectURIs: c.PostLogoutRedirectURIs, BackchannelLogoutURI: c.BackchannelLogoutURI, BackchannelLogoutSessionRequired: c.BackchannelLogoutSessionRequired}
	if c.Secret != "" {
		r.SecretHashes = []openid.SecretHash{openid.HashSecret(c.Secret)}
		if err := os.WriteFile(f.Path("client-secret-"+c.ID), []byte(c.Secret), 0o600); err != nil {
			return r, err
		}
	}
	r.evidence, err = f.key("evidence-" + c.ID)
	return r, err
}

// openRegistry registers the world's platforms, unless its first rules have no registry.
func (f *founding) openRegistry(ctx context.Context) error {
	if f.Resumed {
		if err := f.endorseCurrent(ctx); err != nil {
			return err
		}
	} else if f.Service.Bundle.Registry == nil {
		return nil
	}
	return f.registerPlatforms(ctx)
}

// registerPlatforms registers what is not in the registry, and what is asked for in another
// way than before. What was edited in the registry stays otherwise.
func (f *founding) registerPlatforms(ctx context.Context) error {
	key, err := f.key("registry")
	if err != nil {
		return err
	}
	r := f.disclosing.Store.Platforms.Registry(f.rules, f.Clock.Now)
	for _, p := range f.platforms {
		have, err := r.Of(ctx, p.ID)
		if err != nil {
			return err
		}
		next := policy.PlatformRecord{Version: 1, ID: p.ID, Number: 1}
		var before *policy.PlatformRecord
		if len(have) > 0 {
			if before, err = policy.ParsePlatform(have[len(have)-1].Signed); err != nil {
				return err
			}
			next = before.Successor()
		}
		settings, err := p.Settings()
		if err != nil {
			return err
		}
		if next.Client = policy.ClientHash(settings); before != nil {
			same := before.Client == next.Client && before.Name == p.Name && slices.Equal(before.Origins, p.RedirectOrigins())
			if f.edited[p.ID] = !same && !f.asked[p.ID]; same || f.edited[p.ID] {
				continue
			}
			fmt.Fprintf(f.told, "%s is registered anew, as --platform says now: other changes of it are gone.\n", p.ID)
		}
		next.Name, next.Origins = p.Name, p.RedirectOrigins()
		if next.Keys, err = publicSet(p.evidence); err != nil {
			return err
		}
		signed, err := policy.SignPlatform(key, next)
		if err != nil {
			return err
		}
		if _, err := r.Record(ctx, signed, nil, settings); err != nil {
			return err
		}
	}
	if f.Service == nil { // its processes publish and load by themselves
		return nil
	}
	return errors.Join(f.Service.Publish(ctx), f.Service.LoadPlatforms(ctx))
}

// endorseCurrent gives a world of before what rules in the current version of the format
// have, a registry and the custodians' recipients: by a next bundle, which the custodians
// endorse and the log shows. The platforms of its rules stay there, so that evidence of
// before counts.
func (w *World) endorseCurrent(ctx context.Context) error {
	raw, err := os.ReadFile(w.Path("bundle.json"))
	if err != nil {
		return err
	}
	inForce, err := policy.ParseBundle(raw)
	if err != nil || inForce.Version == policy.CurrentVersion {
		return err
	}
	var next policy.Bundle
	if err := json.Unmarshal(raw, &next); err != nil {
		return err
	}
	if next.Registry == nil {
		if next.Registry, err = w.registry(); err != nil {
			return err
		}
	}
	for i := range next.Custodians {
		c := &next.Custodians[i]
		said, err := w.do(ctx, w.AsCustodian(c.ID, "card")...)
		if err != nil {
			return err
		}
		var card policy.Seat
		if err := json.Unmarshal([]byte(said), &card); err != nil {
			return err
		}
		c.Recipient = card.Recipient
	}
	if len(next.Offences) == 0 {
		next.Organisations = append(next.Organisations, police)
		law, err := policy.ProfileNamed(profile)
		if err != nil {
			return err
		}
		law.Fill(&next)
		next.Offences = slices.DeleteFunc(next.Offences, func(o policy.Offence) bool { return inForce.OffenceClass(o.Class) == nil })
	}
	next.Succeed(inForce)
	if raw, err = next.Marshal(); err != nil {
		return err
	}
	write := func(rules *policy.Bundle) error {
		text, err := rules.Marshal()
		return errors.Join(err, os.WriteFile(w.Path("bundle.json"), text, 0o600))
	}
	if err := write(&next); err != nil {
		return err
	}
	if err := w.InstallBundle(ctx, raw); err != nil {
		return errors.Join(err, write(inForce)) // the next start begins with what is in force
	}
	return w.Service.FollowRules(ctx)
}
