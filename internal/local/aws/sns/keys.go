package sns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"time"

	"github.com/gas-restore/gas/internal/local/aws/store"
	"github.com/gas-restore/gas/internal/local/aws/world"
)

// keyRow is the CA's certificate and the signing certificate with its key, as
// they are stored. The CA's own key is thrown away.
type keyRow struct {
	CA     []byte   `json:"ca"`     // DER
	Cert   []byte   `json:"cert"`   // DER
	Primes [][]byte `json:"primes"` // of the signing key
	Name   string   `json:"name"`   // 32 hex digits of the certificate's path
}

type keys struct {
	row    keyRow
	signer *signer
}

// openKeys returns the stored keys, or makes some when they are first needed:
// many stand-ins never sign.
func openKeys(w *world.World) (func() *keys, error) {
	table, err := store.NewTable[keyRow](w.DB, "sns.keys")
	if err != nil {
		return nil, err
	}
	return sync.OnceValue(func() *keys {
		row, ok := table.Get("signing")
		if !ok {
			var err error
			if row, err = makeKeys(w); err != nil {
				panic(fmt.Sprintf("sns: make signing certificate: %v", err)) // no randomness: nothing works
			}
			table.Put("signing", row)
		}
		var primes []*big.Int
		for _, p := range row.Primes {
			primes = append(primes, new(big.Int).SetBytes(p))
		}
		return &keys{row, newSigner(primes)}
	}), nil
}

func makeKeys(w *world.World) (keyRow, error) {
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
	primes, err := makePrimes()
	if err != nil {
		return keyRow{}, err
	}
	row := keyRow{CA: caDER, Name: world.ID(16)}
	for _, p := range primes {
		row.Primes = append(row.Primes, p.Bytes())
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
	row.Cert, err = x509.CreateCertificate(rand.Reader, leaf, ca, newSigner(primes).public(), caKey)
	return row, err
}

func host(region string) string { return "sns." + region + ".amazonaws.com" }

// sign returns the base64 signature of text by the rules of a signature version:
// "2" is SHA-256, "1" is SHA-1.
func (k *keys) sign(version, text string) string {
	return base64.StdEncoding.EncodeToString(k.signer.sign(version == "2", text))
}

// CACertPEM returns the certificate of the CA that a verifier has to trust. It
// is the same as long as the state is.
func (s *Service) CACertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.keys().row.CA})
}

// CertPEM returns the certificate that signs the messages.
func (s *Service) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.keys().row.Cert})
}

// CertPath returns the path of the signing certificate's URL.
func (s *Service) CertPath() string {
	return "/SimpleNotificationService-" + s.keys().row.Name + ".pem"
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
