package azure

import (
	"flag"
	"time"
)

// Flags are the settings that an operator gives on the command line.
type Flags struct {
	Cloud               string
	OrderChain          bool
	SeparateFiles       bool
	APIVersion          string
	PinnedMaxAge        time.Duration
	AllowNodeIdentity   bool
	CloudFilesDirectory string
}

// Register adds the flags to set. (azure-contract 9.1)
func (f *Flags) Register(set *flag.FlagSet) {
	set.StringVar(&f.Cloud, "cloud-name", "AzurePublicCloud", "cloud of classes that name none")
	set.BoolVar(&f.OrderChain, "construct-pem-chain", true, "put the certificates of a PKCS#12 file in the order of a chain")
	set.BoolVar(&f.SeparateFiles, "write-cert-and-key-in-separate-files", false,
		"write certificate and key of a certificate's secret as NAME.crt and NAME.key too")
	set.StringVar(&f.APIVersion, "keyvault-api-version", "7.4", "version of Key Vault's API")
	set.DurationVar(&f.PinnedMaxAge, "pinned-max-age", time.Hour, "how often objects of a given version are read again")
	set.BoolVar(&f.AllowNodeIdentity, "allow-node-identity", true, "let classes use the managed identities of the node")
	set.StringVar(&f.CloudFilesDirectory, "cloud-files-directory", "",
		"directory in which the files must be that classes name in cloudEnvFileName; empty for anywhere")
}
