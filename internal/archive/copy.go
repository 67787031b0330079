package archive

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/gas-restore/gas/pkg/events"
)

// Copy is the place of an archive. The zero Copy is in the vault of the configuration, under
// the job's archive id.
type Copy struct {
	// Class is the class of the storage; empty means [Vault].
	Class Class
	// Bucket and Key name the object of an S3 class.
	Bucket, Key string
	// Version is the object's version id; empty if its bucket never had versions.
	Version string
	// ETag is S3's name for the object's bytes. It protects an object without a version: a
	// copy with neither could be another object when it is deleted.
	ETag string
}

// StorageClass returns the class, which is [Vault] if the copy has none.
func (c Copy) StorageClass() Class { return cmp.Or(c.Class, Vault) }

// InVault reports whether the copy is in a Glacier vault.
func (c Copy) InVault() bool { return c.StorageClass() == Vault }

// String returns the object's s3:// URL, with its version; "vault" for a vault.
func (c Copy) String() string {
	if c.InVault() {
		return "vault"
	}
	s := Object{c.Bucket, c.Key}.String()
	if c.Version != "" {
		s += "?versionId=" + c.Version
	}
	return s
}

// Check returns an error that names the field of the job's copy that cannot be right. The key
// of an object must name the job, see [JobOfKey], because an event of S3 has only the key.
func (c Copy) Check(job events.JobID) error {
	if _, err := c.StorageClass().Ability(); err != nil {
		return err
	}
	if c.InVault() {
		return nil
	}
	named, ok := JobOfKey(c.Key)
	switch {
	case c.Bucket == "":
		return fmt.Errorf("bucket is missing")
	case c.Key == "":
		return fmt.Errorf("key is missing")
	case !ok || named != job:
		return fmt.Errorf("the last two parts of key %q are not the job's id and a name", c.Key)
	case c.Version == "" && c.ETag == "":
		return fmt.Errorf("version and etag are missing: another object at the key could be deleted in its place")
	}
	return nil
}

// KeyOf returns the key of a job's archive in a bucket: the prefix, the job's id, a slash and
// a name.
func KeyOf(prefix string, job events.JobID, name string) string {
	return prefix + string(job) + "/" + name
}

// JobOfKey returns the job that the key of an archive names: the last part but one. ok is
// false if the key has no such part.
func JobOfKey(key string) (job events.JobID, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) < 2 || parts[len(parts)-2] == "" || parts[len(parts)-1] == "" {
		return "", false
	}
	return events.JobID(parts[len(parts)-2]), true
}
