package azureclass

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Types of objects.
const (
	Secret = "secret"
	Key    = "key"
	Cert   = "cert"
)

// Formats of a certificate that is read as a secret.
const (
	PEM = "pem"
	PFX = "pfx"
)

// Encodings of a secret's value.
const (
	UTF8   = "utf-8"
	Base64 = "base64"
	Hex    = "hex"
)

// latest is a version that means none in particular.
const latest = "latest"

// Object is one entry of the array: one file, or one for each version of a history.
type Object struct {
	Name    string
	File    string // the path in the volume
	Type    string // one of [Secret], [Key] and [Cert]
	Version string // "" is the latest
	// History is how many versions there shall be; below 2 there is one, in File itself.
	History  int
	Format   string      // [PEM] or [PFX]
	Encoding string      // [UTF8], [Base64] or [Hex]
	Mode     fs.FileMode // 0 for the volume's default
}

// Failed puts before an error which object it is about, in the words that operators
// look for. (azure-contract 4.6)
func (o *Object) Failed(err error) error {
	return fmt.Errorf("failed to get objectType:%s, objectName:%s, objectVersion:%s: %w", o.Type, o.Name, o.Version, err)
}

// ID is what a SecretProviderClassPodStatus calls the object. (azure-contract 5.31)
func (o *Object) ID() string { return o.Type + "/" + o.Name }

// item is an entry as a class spells it. Unquoted numbers are texts.
type item struct {
	Name       string `yaml:"objectName"`
	Alias      string `yaml:"objectAlias"`
	Type       string `yaml:"objectType"`
	Version    string `yaml:"objectVersion"`
	History    int32  `yaml:"objectVersionHistory"`
	Format     string `yaml:"objectFormat"`
	Encoding   string `yaml:"objectEncoding"`
	Permission string `yaml:"filePermission"`
}

func (i *item) trim() {
	for _, text := range []*string{&i.Name, &i.Alias, &i.Type, &i.Version, &i.Format, &i.Encoding, &i.Permission} {
		*text = strings.TrimSpace(*text)
	}
}

// object checks an entry, in the order that users of the existing provider know.
func (i *item) object() (Object, error) {
	i.trim()
	o := Object{
		Name: i.Name, File: i.Alias, Type: i.Type, Version: i.Version, History: int(i.History),
		Format: strings.ToLower(i.Format), Encoding: strings.ToLower(i.Encoding),
	}
	if o.File == "" {
		o.File = o.Name
	}
	if o.Format == "" {
		o.Format = PEM
	}
	if err := i.check(&o); err != nil {
		return o, o.Failed(err)
	}
	if o.Version == latest {
		o.Version = ""
	}
	if o.Encoding == "" {
		o.Encoding = UTF8
	}
	return o, nil
}

func (i *item) check(o *Object) error {
	switch {
	case o.Format != PEM && o.Format != PFX:
		return ofField("objectFormat", fmt.Errorf("invalid objectFormat: %q, should be %s or %s", clip(i.Format), PEM, PFX))
	case o.Format == PFX && o.Type != Secret:
		return ofField("objectFormat", fmt.Errorf("objectFormat %s is only for objectType %s", PFX, Secret))
	case o.Encoding != "" && o.Type != Secret:
		return ofField("objectEncoding", fmt.Errorf("objectEncoding is only for objectType %s", Secret))
	case !slices.Contains([]string{"", UTF8, Base64, Hex}, o.Encoding):
		return ofField("objectEncoding", fmt.Errorf("invalid objectEncoding: %q, should be %s, %s or %s", clip(i.Encoding), UTF8, Base64, Hex))
	}
	if err := checkFile(o.File); err != nil {
		field := "objectAlias"
		if i.Alias == "" {
			field = "objectName"
		}
		return ofField(field, err)
	}
	if !slices.Contains([]string{Secret, Key, Cert}, o.Type) {
		return ofField("objectType", fmt.Errorf("invalid objectType: %q, should be %s, %s or %s", clip(i.Type), Secret, Key, Cert))
	}
	if o.Name == "" {
		return ofField("objectName", errors.New("objectName must not be empty: name the object in the Key Vault"))
	}
	return i.permission(o)
}

func (i *item) permission(o *Object) error {
	if i.Permission == "" {
		return nil
	}
	mode, err := strconv.ParseUint(i.Permission, 8, 32)
	if err != nil || mode > 0o777 || mode == 0 { // which would mean the default
		return ofField("filePermission", fmt.Errorf("invalid filePermission: %q, should be octal digits between 0001 and 0777, such as 0640", clip(i.Permission)))
	}
	o.Mode = fs.FileMode(mode)
	return nil
}

func checkFile(name string) error {
	switch {
	case name == "":
		return errors.New("file name must not be empty: set objectName, or objectAlias")
	case path.IsAbs(name):
		return fmt.Errorf("file name must be a relative path, %q is not", clip(name))
	case strings.Contains(name, ".."):
		return fmt.Errorf("file name must not contain '..', %q does", clip(name))
	case name == ".":
		return errors.New("file name must not be the volume itself")
	case path.Clean(name) != name:
		return fmt.Errorf("file name %q is not in its clean form %q", clip(name), clip(path.Clean(name)))
	case strings.ContainsRune(name, 0):
		return errors.New("file name must not contain a NUL byte")
	}
	return nil
}

// Limits that no class in earnest reaches: etcd ends at 1.5 MiB.
const (
	maxText    = 1 << 20
	maxObjects = 1000
)

// ParseObjects reads the objects: YAML with a list of texts, each of which is YAML
// again. (azure-contract 3)
func (c *Class) ParseObjects() error {
	texts, err := c.entries()
	if err != nil {
		return err
	}
	files := map[string]int{}
	for i, text := range texts {
		o, err := parseObject(i, text)
		if err != nil {
			return err
		}
		c.warn(i, o, files)
		c.Objects = append(c.Objects, o)
	}
	return nil
}

// entries are the texts of the objects.
func (c *Class) entries() ([]string, error) {
	switch {
	case strings.TrimSpace(c.objects) == "":
		return nil, fmt.Errorf("%s is not set: list at least one object", paramObjects)
	case len(c.objects) > maxText:
		return nil, fmt.Errorf("%s is longer than %d bytes", paramObjects, maxText)
	}
	var outer struct {
		Array []string `yaml:"array"`
	}
	if err := yaml.Unmarshal([]byte(c.objects), &outer); err != nil {
		return nil, fmt.Errorf("failed to yaml unmarshal %s: want array: with one block of text for each object, as in \"- |\": %w", paramObjects, plain(err))
	}
	switch {
	case len(outer.Array) == 0:
		return nil, fmt.Errorf("%s has no entry below array: list at least one object", paramObjects)
	case len(outer.Array) > maxObjects:
		return nil, fmt.Errorf("%s has more than %d entries", paramObjects, maxObjects)
	}
	return outer.Array, nil
}

func parseObject(i int, text string) (Object, error) {
	var it item
	if err := yaml.Unmarshal([]byte(text), &it); err != nil {
		return Object{}, fmt.Errorf("unmarshal failed for %s at index %d: %w", paramObjects, i, plain(err))
	}
	return it.object()
}

// warn notes what passes, as it always did, but is hardly meant.
func (c *Class) warn(i int, o Object, files map[string]int) {
	if first, ok := files[o.File]; ok {
		c.Warnings = append(c.Warnings, fmt.Sprintf("objects %d and %d have the same file %q: the last one wins", first, i, clip(o.File)))
	}
	files[o.File] = i
}

// plain is a YAML error without its head.
func plain(err error) error {
	return errors.New(clip(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ")))
}

func clip(text string) string {
	const limit = 100
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}

// unknownParams warns of parameters that look like a known one. All others pass in
// silence: a class may be shared by tools that read their own.
func unknownParams(params map[string]string) (warnings []string) {
	known := []string{
		paramVault, paramTenant, paramObjects, paramCloud, paramCloudFile, paramPodIdentity, paramVMIdentity,
		paramTokenProxy, paramUserAssigned, paramClientID, paramStaleIfError,
	}
	if strings.TrimSpace(params[paramTenant]) == "" && params[paramTenantOld] != "" {
		warnings = append(warnings, fmt.Sprintf("parameter %s is deprecated: use %s", paramTenantOld, paramTenant))
	}
	for param := range params {
		for _, k := range known {
			if param != k && param != paramTenantOld && strings.EqualFold(param, k) {
				warnings = append(warnings, fmt.Sprintf("unknown parameter %q is ignored: did you mean %s?", clip(param), k))
			}
		}
	}
	return warnings
}
