package sns

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"github.com/gas-restore/gas/internal/localaws/store"
	"github.com/gas-restore/gas/internal/localaws/world"
)

// keyRow is the CA's certificate and the signing certificate with its key, as
// they are stored. The CA's own key is thrown away.
type keyRow struct {
	CA   []byte `json:"ca"`   // DER
	Cert []byte `json:"cert"` // DER
	Key  []byte `json:"key"`  // PKCS #8
	Name string `json:"name"` // 32 hex digits of the certificate's path
}

type keys struct {
	row keyRow
	key *rsa.PrivateKey
}

// openKeys returns the stored keys, or makes some.
func openKeys(w *world.World, bits int) (*keys, error) {
	table, err := store.NewTable[keyRow](w.DB, "sns.keys")
	if err != nil {
		return nil, err
	}
	row, ok := table.Get("signing")
	if !ok {
		if row, err = makeKeys(w, bits); err != nil {
			return nil, fmt.Errorf("make signing certificate: %w", err)
		}
		table.Put("signing", row)
	}
	key, err := x509.ParsePKCS8PrivateKey(row.Key)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read signing key: %T is not an RSA key", key)
	}
	return &keys{row, rsaKey}, nil
}

func makeKeys(w *world.World, bits int) (keyRow, error) {
	now := w.Clock.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyRow{}, err
	}
	// Ten years, so that a clock that is moved for a test stays within.
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "AWS stand-in CA", Organization: []string{"localaws"}},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return keyRow{}, err
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return keyRow{}, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1),
		Subject:      pkix.Name{CommonName: "sns.amazonaws.com"},
		DNSNames:     []string{"sns.amazonaws.com", host(w.Region)},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return keyRow{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyRow{}, err
	}
	return keyRow{CA: caDER, Cert: leafDER, Key: keyDER, Name: world.ID(16)}, nil
}

func host(region string) string { return "sns." + region + ".amazonaws.com" }

// sign returns the base64 signature of text by the rules of a signature version.
func (k *keys) sign(version, text string) string {
	var sum []byte
	algorithm := crypto.SHA1
	if version == "2" {
		algorithm = crypto.SHA256
		h := sha256.Sum256([]byte(text))
		sum = h[:]
	} else {
		h := sha1.Sum([]byte(text))
		sum = h[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.key, algorithm, sum)
	if err != nil {
		panic("sns: sign: " + err.Error()) // the key is ours and right
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// CACertPEM returns the certificate of the CA that a verifier has to trust. It
// is the same as long as the state is.
func (s *Service) CACertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.keys.row.CA})
}

// CertPEM returns the certificate that signs the messages.
func (s *Service) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.keys.row.Cert})
}

// CertPath returns the path of the signing certificate's URL.
func (s *Service) CertPath() string {
	return "/SimpleNotificationService-" + s.keys.row.Name + ".pem"
}

// SigningCertURL returns the URL that messages name for the certificate. It is
// AWS's; the stand-in serves its path, see [Service.ServeCert].
func (s *Service) SigningCertURL() string {
	return "https://" + host(s.w.Region) + s.CertPath()
}

// ServeCert serves the signing certificate, if r asks for it, without a
// signature, and tells whether it did.
func (s *Service) ServeCert(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != s.CertPath() || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	if r.Method == http.MethodGet {
		w.Write(s.CertPEM())
	}
	return true
}
