package escrowtest_test

import (
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox"
)

func TestSandboxKeyringConforms(t *testing.T) {
	issuing, disclosing := sandbox.NewKeyring(sandbox.NewSecret())
	escrowtest.TestKeys(t, func(*testing.T) escrowtest.IssuingKeys { return issuing },
		func(*testing.T) escrowtest.DisclosingKeys { return disclosing })
}

func TestVaultConforms(t *testing.T) {
	issuing, disclosing := escrowtest.Vault(t).Sides(t)
	escrowtest.TestKeys(t, func(*testing.T) escrowtest.IssuingKeys { return issuing },
		func(*testing.T) escrowtest.DisclosingKeys { return disclosing })
}
