package escrowtest_test

import (
	"testing"

	"github.com/penname/penname/escrow/issue"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/sandbox"
)

func TestSandboxKeyringConforms(t *testing.T) {
	issuing, disclosing, _ := sandbox.NewKeyring(sandbox.NewSecret())
	escrowtest.TestKeys(t, func(*testing.T) issue.Keys { return issuing },
		func(*testing.T) disclose.Keys { return disclosing })
}

func TestVaultConforms(t *testing.T) {
	issuing, disclosing := escrowtest.Vault(t).Sides(t)
	escrowtest.TestKeys(t, func(*testing.T) issue.Keys { return issuing },
		func(*testing.T) disclose.Keys { return disclosing })
}

func TestSandboxKeyringKeeps(t *testing.T) {
	issuing, disclosing, keeping := sandbox.NewKeyring(sandbox.NewSecret())
	escrowtest.TestKeeping(t, issuing, disclosing, keeping)
}

func TestVaultKeeps(t *testing.T) {
	v := escrowtest.OwnVault(t) // versions of a key do not come back
	issuing, disclosing := v.Sides(t)
	escrowtest.TestKeeping(t, issuing, disclosing, v.Keeping(t))
}
