package snsverify_test

import (
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gas-restore/gas/internal/snsverify"
)

// TestACertificateIsKnownByTheNamesOfItsRegion has the names that AWS's own verifier
// expects.
func TestACertificateIsKnownByTheNamesOfItsRegion(t *testing.T) {
	for _, c := range []struct {
		partition, region, name string
		ok                      bool
	}{
		{"aws", "us-west-2", "sns.amazonaws.com", true},
		{"aws", "us-west-2", "sns.us-west-2.amazonaws.com", true},
		{"aws", "ap-east-1", "sns-signing.ap-east-1.amazonaws.com", true},
		{"aws", "us-west-2", "sns-signing.ap-east-1.amazonaws.com", false},
		{"aws", "us-west-2", "sns.amazonaws.com.cn", false},
		{"aws", "us-west-2", "sns-us-gov-west-1.amazonaws.com", false},
		{"aws", "us-west-2", "evil.example", false},
		{"aws-cn", "cn-north-1", "sns-cn-north-1.amazonaws.com.cn", true},
		{"aws-cn", "cn-northwest-1", "sns-cn-northwest-1.amazonaws.com.cn", true},
		{"aws-cn", "cn-north-1", "sns.amazonaws.com.cn", true},
		{"aws-cn", "cn-north-1", "sns-cn-northwest-1.amazonaws.com.cn", false},
		{"aws-cn", "cn-north-1", "sns.amazonaws.com", false},
		{"aws-us-gov", "us-gov-west-1", "sns-us-gov-west-1.amazonaws.com", true},
		{"aws-us-gov", "us-gov-east-1", "sns-us-gov-west-1.amazonaws.com", true},
		{"aws-iso", "us-iso-east-1", "sns-us-iso-east-1.c2s.ic.gov", true},
		{"aws-iso-b", "us-isob-east-1", "sns-us-isob-east-1.sc2s.sgov.gov", true},
		{"aws-iso-e", "eu-isoe-west-1", "sns-signing.eu-isoe-west-1.cloud.adc-e.uk", true},
		{"aws-iso-f", "us-isof-south-1", "sns-signing.us-isof-south-1.csp.hci.ic.gov", true},
		{"aws-eusc", "eusc-de-east-1", "sns-signing.eusc-de-east-1.amazonaws.eu", true},
	} {
		suffix := map[string]string{"aws": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-us-gov": "amazonaws.com", "aws-iso": "c2s.ic.gov",
			"aws-iso-b": "sc2s.sgov.gov", "aws-iso-e": "cloud.adc-e.uk", "aws-iso-f": "csp.hci.ic.gov", "aws-eusc": "amazonaws.eu"}[c.partition]
		arn := "arn:" + c.partition + ":sns:" + c.region + ":123456789012:t"
		root := authority(nil, "root")
		leaf := issue(root, rsaKey(), func(x *x509.Certificate) { forSNS(x); x.DNSNames = []string{c.name} })
		roots := x509.NewCertPool()
		roots.AddCert(root.cert)
		v := snsverify.New(snsverify.Config{Topics: []string{arn}, Roots: roots, Now: func() time.Time { return at },
			Client: &http.Client{Transport: wire(func(*http.Request) []byte { return leaf.pem() })}})
		m := notification()
		m["TopicArn"] = arn
		m["SigningCertURL"] = "https://sns." + c.region + "." + suffix + certURL[strings.LastIndexByte(certURL, '/'):]
		_, err := v.Verify(t.Context(), "Notification", m.signed().json())
		if (err == nil) != c.ok || err != nil && reasonOf(t, err) != snsverify.CertTrust {
			t.Errorf("%s with a certificate of %s: got %v, want accepted %v", arn, c.name, err, c.ok)
		}
	}
}

func TestATopicIsOfARegionOfItsPartition(t *testing.T) {
	for arn, says := range map[string]string{
		"arn:aws:sns:us-east-1:123456789012:t":            "",
		"arn:aws-us-gov:sns:us-gov-west-1:123456789012:t": "",
		"arn:aws:sns:cn-north-1:123456789012:t":           "region cn-north-1 is not of partition aws",
		"arn:aws-cn:sns:us-east-1:123456789012:t":         "region us-east-1 is not of partition aws-cn",
		"arn:aws-moon:sns:us-east-1:123456789012:t":       "no partition aws-moon",
		"arn:aws:sns:us-east-1:123456789012:t.fifo":       "no ARN",
		"arn:aws:sqs:us-east-1:123456789012:t":            "no ARN",
		"arn:aws:sns:s3-us-west-2:123456789012:t":         "no ARN",
		"arn:aws:sns:us-east-1:1:t":                       "no ARN",
		"":                                                "no ARN",
	} {
		err := snsverify.CheckTopic(arn)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", arn, err, says)
		}
	}
}

func TestAChainThatCannotBeHadIsSaidAndASettingMendsIt(t *testing.T) {
	root := authority(nil, "root")
	between := authority(root, "between")
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	for _, c := range []struct {
		name    string
		known   []*x509.Certificate // intermediates
		reached bool                // is Amazon's place for them
		expired bool
		want    snsverify.Reason // empty if accepted
		says    bool
		fetches int // of the issuer
	}{
		{"it can be reached", nil, true, false, "", false, 1},
		{"it cannot be reached", nil, false, false, snsverify.CertFetch, true, 1},
		{"the intermediate is set", []*x509.Certificate{between.cert}, false, false, "", false, 0},
		{"another is set", []*x509.Certificate{authority(nil, "other").cert}, false, false, snsverify.CertFetch, true, 1},
		{"an old certificate, which anybody can name", nil, false, true, snsverify.CertTrust, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := issue(between, rsaKey(), func(x *x509.Certificate) {
				forSNS(x)
				x.IssuingCertificateURL = []string{"http://crt.r2m01.amazontrust.com/between.cer"}
				if c.expired {
					x.NotAfter = at.Add(-time.Hour)
				}
			})
			var fetched []string
			reached := c.reached
			v := snsverify.New(snsverify.Config{Topics: []string{topic}, Roots: roots, Intermediates: c.known, Now: func() time.Time { return at },
				Client: &http.Client{Transport: wire(func(r *http.Request) []byte {
					fetched = append(fetched, r.URL.Host)
					if r.URL.Host != "crt.r2m01.amazontrust.com" {
						return leaf.pem()
					}
					if !reached {
						return nil
					}
					return between.cert.Raw
				})}})
			if err := v.Chain(); err != nil {
				t.Errorf("before anything was tried: %v", err)
			}
			_, err := v.Verify(t.Context(), "Notification", notification().signed().json())
			if (err == nil) != (c.want == "") || err != nil && reasonOf(t, err) != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err := v.Chain(); (err != nil) != c.says || err != nil && !strings.Contains(err.Error(), "http://crt.r2m01.amazontrust.com/") {
				t.Errorf("the chain: %v, want trouble that names the place: %v", err, c.says)
			}
			n := len(slices.DeleteFunc(slices.Clone(fetched), func(h string) bool { return h != "crt.r2m01.amazontrust.com" }))
			if n != c.fetches {
				t.Errorf("%d fetches of the issuer, want %d", n, c.fetches)
			}
		})
	}
}
