package disclosetest_test

import (
	"testing"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

func TestMemoryConforms(t *testing.T) {
	disclosetest.TestCases(t, func(*testing.T) disclosetest.Store { return new(disclosetest.Memory) })
}

func TestOrdersInMemory(t *testing.T) {
	disclosetest.TestOrders(t, 20, func(*testing.T) (disclosetest.Store, func()) { return new(disclosetest.Memory), func() {} })
}

func TestMemoryKeepsARegistry(t *testing.T) {
	disclosetest.TestPlatforms(t, signer(t), func(*testing.T) (disclosetest.Store, disclose.Registry) {
		m := new(disclosetest.Memory)
		return m, m.Registry()
	})
}

func signer(t *testing.T) disclosetest.Sign {
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return func(r policy.PlatformRecord) (string, error) { return policy.SignPlatform(key, r) }
}
