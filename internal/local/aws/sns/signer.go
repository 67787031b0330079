package sns

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"math/big"
	"slices"
)

const (
	keyBits   = 2048
	keyPrimes = 8
	exponent  = 65537
)

// The DER of PKCS #1's DigestInfo up to the digest (RFC 8017, section 9.2).
var (
	sha1Info   = []byte{0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14}
	sha256Info = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
)

// signer makes RSA signatures (PKCS #1 v1.5) with a key of many small primes.
// That is many times faster than crypto/rsa with two, and as good to verify: a
// stand-in that is measured with must not spend its time on signing. The key
// protects nothing, and nothing here is done in constant time.
type signer struct {
	n         *big.Int
	primes    []*big.Int
	exponents []*big.Int // the private exponent, by prime
	weights   []*big.Int // 1 modulo its prime, 0 modulo the others
}

// makePrimes returns the primes of a new key.
func makePrimes() ([]*big.Int, error) {
	// With the four highest bits set in each, no bit is missing in the product.
	low := new(big.Int).Lsh(big.NewInt(15), keyBits/keyPrimes-4)
	span := new(big.Int).Lsh(big.NewInt(1), keyBits/keyPrimes-4)
	var primes []*big.Int
	for len(primes) < keyPrimes {
		p, err := rand.Int(rand.Reader, span)
		if err != nil {
			return nil, err
		}
		p.Add(p, low).SetBit(p, 0, 1)
		// The exponent is a prime: it has an inverse unless it divides p-1.
		if new(big.Int).Mod(p, big.NewInt(exponent)).Cmp(big.NewInt(1)) == 0 || !p.ProbablyPrime(1) ||
			slices.ContainsFunc(primes, func(q *big.Int) bool { return q.Cmp(p) == 0 }) {
			continue
		}
		primes = append(primes, p)
	}
	return primes, nil
}

func newSigner(primes []*big.Int) *signer {
	s := &signer{n: big.NewInt(1), primes: primes}
	for _, p := range primes {
		s.n.Mul(s.n, p)
	}
	for _, p := range primes {
		less := new(big.Int).Sub(p, big.NewInt(1))
		s.exponents = append(s.exponents, new(big.Int).ModInverse(big.NewInt(exponent), less))
		others := new(big.Int).Div(s.n, p)
		s.weights = append(s.weights, others.Mul(others, new(big.Int).ModInverse(others, p)))
	}
	return s
}

func (s *signer) public() *rsa.PublicKey { return &rsa.PublicKey{N: s.n, E: exponent} }

// sign returns the signature of text, of its SHA-256 or of its SHA-1.
func (s *signer) sign(withSHA256 bool, text string) []byte {
	var digest []byte
	if withSHA256 {
		sum := sha256.Sum256([]byte(text))
		digest = append(slices.Clone(sha256Info), sum[:]...)
	} else {
		sum := sha1.Sum([]byte(text))
		digest = append(slices.Clone(sha1Info), sum[:]...)
	}
	padded := make([]byte, keyBits/8) // 00 01 FF … FF 00 digest
	for i := range padded {
		padded[i] = 0xff
	}
	padded[0], padded[1] = 0, 1
	start := len(padded) - len(digest)
	padded[start-1] = 0
	copy(padded[start:], digest)

	message := new(big.Int).SetBytes(padded)
	sum, root := new(big.Int), new(big.Int)
	for i, p := range s.primes {
		root.Mod(message, p)
		root.Exp(root, s.exponents[i], p)
		sum.Add(sum, root.Mul(root, s.weights[i]))
	}
	sum.Mod(sum, s.n)
	return sum.FillBytes(make([]byte, keyBits/8))
}
