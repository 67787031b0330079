package localaws

import (
	"crypto/sha256"
	"encoding/base32"
	"net/http"

	"github.com/gas-restore/gas/internal/local/aws/access"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// key is the access key of a role.
type key struct {
	secret string
	role   *access.Role
}

// SetRole makes the role, or gives it another policy, which is JSON as IAM takes it. It
// returns the role's access key: requests with this key may do what the policy allows, and
// AWS's error answers all others. A role's key is always the same, and its record goes on
// with another policy. Roles are not kept in the directory.
func (s *Server) SetRole(name, policy string) (accessKey, secretKey string, err error) {
	parsed, err := access.Parse(name, policy)
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256([]byte(name))
	accessKey = "AKIA" + base32.StdEncoding.EncodeToString(sum[:])[:16]
	secretKey = "local-secret-of-" + name
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.roles[accessKey]; k != nil {
		k.role.SetPolicy(parsed)
	} else {
		s.roles[accessKey] = &key{secretKey, access.New(name, parsed)}
	}
	return accessKey, secretKey, nil
}

// Roles returns what the requests with each role's access key did so far, by the name.
func (s *Server) Roles() map[string]access.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]access.Record{}
	for _, k := range s.roles {
		all[k.role.Name()] = k.role.Record()
	}
	return all
}

// Role returns what the requests with the role's access key did so far.
func (s *Server) Role(accessKey string) access.Record {
	role := s.roleOf(accessKey)
	if role == nil {
		return access.Record{}
	}
	return role.Record()
}

func (s *Server) roleOf(accessKey string) *access.Role {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.roles[accessKey]; k != nil {
		return k.role
	}
	return nil
}

// secretOf returns the secret of an access key; false if there is no such key.
func (s *Server) secretOf(accessKey string) (string, bool) {
	if accessKey == s.cfg.AccessKey {
		return s.cfg.SecretKey, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.roles[accessKey]; k != nil {
		return k.secret, true
	}
	return "", false
}

// hiding answers 403 in place of 404 to a caller who may not know that an object does not
// exist.
type hiding struct {
	http.ResponseWriter
	absent func() *world.Error
	refuse func(http.ResponseWriter, *world.Error)
	hidden bool
}

func (h *hiding) WriteHeader(status int) {
	if status == http.StatusNotFound {
		if e := h.absent(); e != nil {
			h.hidden = true
			for _, name := range []string{"Content-Length", "Content-Type"} {
				h.Header().Del(name)
			}
			h.refuse(h.ResponseWriter, e)
			return
		}
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h *hiding) Write(p []byte) (int, error) {
	if h.hidden {
		return len(p), nil
	}
	return h.ResponseWriter.Write(p)
}

func (h *hiding) Unwrap() http.ResponseWriter { return h.ResponseWriter }
