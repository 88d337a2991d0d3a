package pagetest

import (
	"context"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// An Authenticator is one of Chromium's virtual ones: a device that keeps passkeys, and whose
// person is there and unlocks it at once.
type Authenticator struct {
	b  *Browser
	id webauthn.AuthenticatorID
}

// AddAuthenticator gives the browser a device for passkeys.
func (b *Browser) AddAuthenticator() (*Authenticator, error) {
	a := &Authenticator{b: b}
	err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		added, err := cdp.Call(ctx, t, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Ctap2version: webauthn.Ctap2versionCtap21, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}})
		a.id = added.AuthenticatorID
		return err
	}))
	return a, err
}

// Unlocks says whether the device's person unlocks it.
func (a *Authenticator) Unlocks(does bool) error {
	return chromedp.Do(a.b.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: a.id, IsUserVerified: does})
		return err
	}))
}

// Remove takes the device away, with its passkeys.
func (a *Authenticator) Remove() error {
	return chromedp.Do(a.b.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, webauthn.RemoveVirtualAuthenticator, webauthn.RemoveVirtualAuthenticatorParams{AuthenticatorID: a.id})
		return err
	}))
}

// Forget clears the cookies, as another browser has none.
func (b *Browser) Forget() error {
	return chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}))
}

// Open opens an address and waits for a page with these words.
func (b *Browser) Open(address, words string) error {
	if err := chromedp.Do(b.ctx, Views[0].set(), chromedp.Navigate(address)); err != nil {
		return err
	}
	return b.Shows(words)
}

// PressTo presses a button by the keyboard, after it opened an address where that stands.
func (b *Browser) PressTo(address, button, then string) error {
	if err := b.Open(address, button); err != nil {
		return err
	}
	return b.Press(button, then)
}
