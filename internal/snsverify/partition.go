package snsverify

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// partition is a part of AWS that has domains, regions and accounts of its own.
type partition struct {
	name, suffix string
	// regions is what the names of its regions begin with; empty for those that no other
	// partition claims.
	regions string
	// cert is the name in the certificate of all its regions, where there is one beside
	// those that are made of the region's name; see [names].
	cert string
}

// partitions are the partitions of the SDK
// (aws-sdk-go-v2/internal/endpoints/awsrulesfn/partitions.json; a test compares them).
// The names of certificates come from AWS's own verifier for Java
// (services-custom/sns-message-manager).
func partitions() []partition {
	return []partition{
		{"aws", "amazonaws.com", "", ""},
		{"aws-cn", "amazonaws.com.cn", "cn-", ""},
		{"aws-eusc", "amazonaws.eu", "eusc-", ""},
		{"aws-iso", "c2s.ic.gov", "us-iso-", ""},
		{"aws-iso-b", "sc2s.sgov.gov", "us-isob-", ""},
		{"aws-iso-e", "cloud.adc-e.uk", "eu-isoe-", ""},
		{"aws-iso-f", "csp.hci.ic.gov", "us-isof-", ""},
		{"aws-us-gov", "amazonaws.com", "us-gov-", "sns-us-gov-west-1.amazonaws.com"},
	}
}

var topicShape = regexp.MustCompile(`^arn:([a-z-]+):sns:([a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}):[0-9]{12}:[A-Za-z0-9_-]{1,256}$`)

// CheckTopic returns an error if arn is not the ARN of a standard topic in a region of
// its partition: no message of such a topic could be verified. `gas check` and the
// bridge's start use it.
func CheckTopic(arn string) error {
	_, _, err := place(arn)
	return err
}

// place returns the partition and the region of a topic.
func place(arn string) (partition, string, error) {
	m := topicShape.FindStringSubmatch(arn)
	if m == nil {
		return partition{}, "", fmt.Errorf("%q is no ARN of an SNS topic", arn)
	}
	all := partitions()
	i := slices.IndexFunc(all, func(p partition) bool { return p.name == m[1] })
	if i < 0 {
		return partition{}, "", fmt.Errorf("%q is no ARN of an SNS topic: AWS has no partition %s", arn, m[1])
	}
	// The longest prefix that fits claims the region; aws has what nobody claims.
	owner := 0
	for k, p := range all {
		if strings.HasPrefix(m[2], p.regions) && len(p.regions) > len(all[owner].regions) {
			owner = k
		}
	}
	if owner != i {
		return partition{}, "", fmt.Errorf("%q is no ARN of an SNS topic: region %s is not of partition %s", arn, m[2], m[1])
	}
	return all[i], m[2], nil
}

// host returns where SNS keeps the certificates for a region. The official validators'
// pattern lets an S3 bucket pass as well (sns.s3-us-west-2.amazonaws.com), so the host is
// pinned to the region.
func (p partition) host(region string) string { return "sns." + region + "." + p.suffix }

// names returns what a region's signing certificate may be called.
func (p partition) names(region string) []string {
	names := []string{
		"sns." + p.suffix,
		p.host(region),
		"sns-" + region + "." + p.suffix,         // China, and some of iso
		"sns-signing." + region + "." + p.suffix, // regions that an account opts into, and the youngest partitions
	}
	if p.cert != "" {
		names = append(names, p.cert)
	}
	return names
}
