package glacier

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

// vault is a vault as it is stored, by its name.
type vault struct {
	Name    string            `json:"name"`
	Created int64             `json:"created"`
	Topic   string            `json:"topic,omitempty"`
	Events  []string          `json:"events,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Lock    *vaultLock        `json:"lock,omitempty"`
}

func (s *Service) vaultARN(name string) string { return s.w.ARN("glacier", "vaults/"+name) }

var vaultName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,255}$`)

// vaultOf returns the vault of a call.
func (s *Service) vaultOf(c *call) (vault, *world.Error) {
	if !vaultName.MatchString(c.vault) {
		return vault{}, invalid("Invalid vault name: %q: 1 to 255 of a-z, A-Z, 0-9, '_', '-' and '.'", c.vault)
	}
	v, ok := s.vaults.Get(c.vault)
	if !ok {
		return vault{}, notFound("Vault not found for ARN: %s", s.vaultARN(c.vault))
	}
	return v, nil
}

// changeVault changes the vault of a call.
func (s *Service) changeVault(c *call, change func(*vault) *world.Error) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	if e := change(&v); e != nil {
		return e
	}
	s.vaults.Put(v.Name, v)
	return nil
}

func (s *Service) createVault(c *call) *world.Error {
	if !vaultName.MatchString(c.vault) {
		return invalid("Invalid vault name: %q: 1 to 255 of a-z, A-Z, 0-9, '_', '-' and '.'", c.vault)
	}
	s.mu.Lock()
	if _, ok := s.vaults.Get(c.vault); !ok {
		s.vaults.Put(c.vault, vault{Name: c.vault, Created: s.now()})
	}
	s.mu.Unlock()
	c.w.Header().Set("Location", s.location("vaults", c.vault))
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// deleteVault deletes an empty vault; one that is gone already is no error.
func (s *Service) deleteVault(c *call) *world.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, e := s.vaultOf(c)
	if e != nil && e.Code == "ResourceNotFoundException" {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if e != nil {
		return e
	}
	if n, _ := s.inventory(v.Name); n > 0 {
		return invalid("Vault not empty or recently written to: %s", s.vaultARN(v.Name))
	}
	for _, u := range s.uploads.Prefix(v.Name + "/") {
		s.dropUpload(u)
	}
	for _, j := range s.jobs.Prefix(v.Name + "/") {
		s.dropJob(j)
	}
	s.vaults.Delete(v.Name)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// inventory counts a vault's archives and their bytes.
func (s *Service) inventory(name string) (archives, bytes int64) {
	s.archives.Ascend(name+"/", func(key string, a archive) bool {
		if !strings.HasPrefix(key, name+"/") {
			return false
		}
		archives++
		bytes += a.Content.Size
		return true
	})
	return archives, bytes
}

// describedVault is a vault as it is answered. Other than at AWS, which counts
// once a day, the numbers are those of now.
type describedVault struct {
	CreationDate      string
	LastInventoryDate *string
	NumberOfArchives  int64
	SizeInBytes       int64
	VaultARN          string
	VaultName         string
}

func (s *Service) describe(v vault) describedVault {
	n, size := s.inventory(v.Name)
	d := describedVault{CreationDate: date(v.Created), NumberOfArchives: n, SizeInBytes: size, VaultARN: s.vaultARN(v.Name), VaultName: v.Name}
	if n > 0 {
		d.LastInventoryDate = nullable(date(s.now()))
	}
	return d
}

func (s *Service) describeVault(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	answer(c.w, http.StatusOK, s.describe(v))
	return nil
}

func (s *Service) listVaults(c *call) *world.Error {
	n, e := c.limit(10)
	if e != nil {
		return e
	}
	marker, prefix := c.query.Get("marker"), s.vaultARN("")
	if marker != "" && !strings.HasPrefix(marker, prefix) {
		return invalid("Invalid marker: %s", marker)
	}
	vaults, next := page(s.vaults, "", strings.TrimPrefix(marker, prefix), n, func(vault) bool { return true })
	if next != nil {
		next = nullable(prefix + *next)
	}
	out := struct {
		Marker    *string
		VaultList []describedVault
	}{next, []describedVault{}}
	for _, v := range vaults {
		out.VaultList = append(out.VaultList, s.describe(v))
	}
	answer(c.w, http.StatusOK, out)
	return nil
}

func (s *Service) listTags(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	tags := v.Tags
	if tags == nil {
		tags = map[string]string{}
	}
	answer(c.w, http.StatusOK, map[string]any{"Tags": tags})
	return nil
}

func (s *Service) addTags(c *call) *world.Error {
	var in struct{ Tags map[string]string }
	if e := c.read(&in); e != nil {
		return e
	}
	if e := s.changeVault(c, func(v *vault) *world.Error {
		tags := map[string]string{}
		maps.Copy(tags, v.Tags)
		maps.Copy(tags, in.Tags)
		if len(tags) > 50 {
			return world.Errorf(http.StatusBadRequest, "LimitExceededException", "a vault has up to 50 tags")
		}
		v.Tags = tags
		return nil
	}); e != nil {
		return e
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) removeTags(c *call) *world.Error {
	var in struct{ TagKeys []string }
	if e := c.read(&in); e != nil {
		return e
	}
	if e := s.changeVault(c, func(v *vault) *world.Error {
		v.Tags = maps.Clone(v.Tags)
		for _, k := range in.TagKeys {
			delete(v.Tags, k)
		}
		return nil
	}); e != nil {
		return e
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

const (
	archiveEvent   = "ArchiveRetrievalCompleted"
	inventoryEvent = "InventoryRetrievalCompleted"
)

func (s *Service) setNotifications(c *call) *world.Error {
	var in struct {
		SNSTopic string
		Events   []string
	}
	if e := c.read(&in); e != nil {
		return e
	}
	if !isTopic(in.SNSTopic) {
		return invalid("Invalid SNS topic ARN: %s", in.SNSTopic)
	}
	if len(in.Events) == 0 {
		return missing("Required parameter missing: Events")
	}
	for _, event := range in.Events {
		if event != archiveEvent && event != inventoryEvent {
			return invalid("Invalid notification event: %s", event)
		}
	}
	if e := s.changeVault(c, func(v *vault) *world.Error {
		v.Topic, v.Events = in.SNSTopic, slices.Compact(slices.Sorted(slices.Values(in.Events)))
		return nil
	}); e != nil {
		return e
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) getNotifications(c *call) *world.Error {
	v, e := s.vaultOf(c)
	if e != nil {
		return e
	}
	if v.Topic == "" {
		return notFound("No notification configuration is set for vault: %s", v.Name)
	}
	answer(c.w, http.StatusOK, map[string]any{"SNSTopic": v.Topic, "Events": v.Events})
	return nil
}

func (s *Service) deleteNotifications(c *call) *world.Error {
	if e := s.changeVault(c, func(v *vault) *world.Error {
		v.Topic, v.Events = "", nil
		return nil
	}); e != nil {
		return e
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

var topicARN = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$`)

func isTopic(arn string) bool { return topicARN.MatchString(arn) }
