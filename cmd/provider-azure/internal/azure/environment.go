package azure

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	sdk "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"

	"github.com/strongroom/strongroom/internal/azureclass"
)

// environment is where vaults and their directory are.
type environment struct {
	name string
	// suffix is that of the vaults' host names.
	suffix string
	// resource is what pod identity asks tokens for.
	resource  string
	authority string
	// custom clouds have authorities that the public one does not know.
	custom bool
	// definition is a hash of the file that defines a custom cloud.
	definition [sha256.Size]byte
}

// config is the cloud as the SDK knows one.
func (c *environment) config() sdk.Configuration {
	return sdk.Configuration{ActiveDirectoryAuthorityHost: c.authority}
}

// vaultURL is the address of a vault.
func (c *environment) vaultURL(name string) string {
	return "https://" + strings.ToLower(name) + "." + c.suffix + "/"
}

const customCloud = "AZURESTACKCLOUD"

// knownClouds lists the clouds by their names in upper case. (azure-contract 6.2-6.5)
func knownClouds() map[string]environment {
	public := environment{name: "AzurePublicCloud", suffix: "vault.azure.net", authority: "https://login.microsoftonline.com/"}
	usGov := environment{name: "AzureUSGovernmentCloud", suffix: "vault.usgovcloudapi.net", authority: "https://login.microsoftonline.us/"}
	china := environment{name: "AzureChinaCloud", suffix: "vault.azure.cn", authority: "https://login.chinacloudapi.cn/"}
	german := environment{name: "AzureGermanCloud", suffix: "vault.microsoftazure.de", authority: "https://login.microsoftonline.de/", custom: true}
	all := map[string]environment{
		"AZUREPUBLICCLOUD": public, "AZURECLOUD": public,
		"AZUREUSGOVERNMENTCLOUD": usGov, "AZUREUSGOVERNMENT": usGov,
		"AZURECHINACLOUD": china, "AZUREGERMANCLOUD": german,
	}
	for name, c := range all {
		c.resource = "https://" + c.suffix
		all[name] = c
	}
	return all
}

// clouds finds clouds by name.
type clouds struct {
	// otherwise is the cloud of classes that name none.
	otherwise string
	// file defines AzureStackCloud if a class names no file.
	file string
	// below is where the files that classes name must be; "" is anywhere.
	below string
}

// find returns a cloud. File is that of a class.
func (cs *clouds) find(name, file string) (environment, error) {
	if name == "" {
		name = cs.otherwise
	}
	upper := strings.ToUpper(name)
	if c, ok := knownClouds()[upper]; ok {
		return c, nil
	}
	if upper != customCloud {
		return environment{}, azureclass.CheckCloud(name)
	}
	c, err := cs.custom(file)
	if err != nil {
		return environment{}, fmt.Errorf("cloudName %s is not valid: %w", name, err)
	}
	return c, nil
}

// custom reads the definition of AzureStackCloud. (azure-contract 6.6)
func (cs *clouds) custom(file string) (environment, error) {
	below := cs.below
	if file == "" {
		file, below = cs.file, ""
	}
	if file == "" {
		return environment{}, errors.New("its definition is missing: name a file in cloudEnvFileName, or in AZURE_ENVIRONMENT_FILEPATH of the provider")
	}
	if len(file) > maxFileName {
		return environment{}, fmt.Errorf("the name of its file has more than %d bytes", maxFileName)
	}
	text, err := readBelow(below, file)
	if err != nil {
		return environment{}, err
	}
	var d struct {
		Authority string `json:"activeDirectoryEndpoint"`
		Resource  string `json:"keyVaultEndpoint"`
		Suffix    string `json:"keyVaultDNSSuffix"`
	}
	if json.Unmarshal(text, &d) != nil {
		return environment{}, fmt.Errorf("%s is not the JSON of a cloud", file)
	}
	if u, err := url.Parse(d.Authority); err != nil || u.Scheme != "https" || u.Host == "" {
		return environment{}, fmt.Errorf("activeDirectoryEndpoint in %s is not an https address", file)
	}
	suffix := strings.Trim(d.Suffix, ".")
	if !isHost(suffix) {
		return environment{}, fmt.Errorf("keyVaultDNSSuffix in %s is not a host name", file)
	}
	return environment{
		name: "AzureStackCloud", suffix: suffix, resource: strings.TrimSuffix(d.Resource, "/"), authority: d.Authority,
		custom: true, definition: sha256.Sum256(text),
	}, nil
}

// isHost says whether names below a suffix are hosts of an address.
func isHost(suffix string) bool {
	u, err := url.Parse("https://x." + suffix + "/")
	return err == nil && suffix != "" && u.Host == "x."+suffix && !strings.ContainsAny(suffix, "@%\\ ")
}

const (
	// maxCloudFile bounds a definition; a real one has some KiB.
	maxCloudFile = 256 << 10
	// maxFileName bounds what of a class gets into an error.
	maxFileName = 500
)

// readBelow reads a file, which must be below a folder if that is given.
func readBelow(folder, name string) (text []byte, err error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK // a FIFO is not waited for
	var f *os.File
	if folder == "" {
		f, err = os.OpenFile(name, flags, 0)
	} else {
		f, err = openBelow(folder, name, flags)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCloudFile {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", name, maxCloudFile)
	}
	return io.ReadAll(io.LimitReader(f, maxCloudFile))
}

func openBelow(folder, name string, flags int) (*os.File, error) {
	below, err := filepath.Rel(folder, name)
	if err != nil || !filepath.IsLocal(below) {
		return nil, fmt.Errorf("the operator of provider-azure allows only cloud files below %s", folder)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // what was opened through it stays open
	return root.OpenFile(below, flags, 0)
}
