package estate

import (
	"path"
	"strings"
)

// Thing is a kind of thing in AWS that calls are made on.
type Thing string

// The things. A bucket means its objects too.
const (
	Jobs         Thing = "jobs"
	JobsByUser   Thing = "jobs, by user"
	JobsArchived Thing = "jobs, archived"
	JobsDue      Thing = "jobs, due"
	Accounts     Thing = "accounts"
	AccountPlans Thing = "accounts, plans"
	Plans        Thing = "plans"
	Results      Thing = "results"
	Archives     Thing = "archives"
	Vault        Thing = "vault"
	PremiumTopic Thing = "premium topic"
	RestoreTopic Thing = "restore topic"
	PremiumQueue Thing = "premium queue"
	RestoreQueue Thing = "restore queue"
	PremiumDead  Thing = "premium dead-letter queue"
	RestoreDead  Thing = "restore dead-letter queue"
)

// Things returns all things.
func Things() []Thing {
	return []Thing{Jobs, JobsByUser, JobsArchived, JobsDue, Accounts, AccountPlans, Plans, Results, Archives, Vault,
		PremiumTopic, RestoreTopic, PremiumQueue, RestoreQueue, PremiumDead, RestoreDead}
}

// indexes are the things that are indexes: the table and the index's name.
var indexes = map[Thing]struct {
	table Thing
	name  string
}{
	JobsByUser:   {Jobs, UserIndex},
	JobsArchived: {Jobs, ArchivedIndex},
	JobsDue:      {Jobs, DueIndex},
	AccountPlans: {Accounts, PlanIndex},
}

// Place says where the things are, and what they are called.
type Place struct {
	Partition, Region, Account string
	Tables                     Names
	// Results and Archives are buckets. Archives and Vault are empty if there are none.
	Results, Archives, Vault string
	// The names of topics and queues.
	PremiumTopic, RestoreTopic, PremiumQueue, RestoreQueue string
	// Key is the ARN of the KMS key with which buckets, queues or topics are encrypted; empty
	// if AWS's own keys are used.
	Key string
}

// DeadQueue is the name of the dead-letter queue of the queue.
func DeadQueue(queue string) string { return queue + "-dead" }

// ARN returns the thing's ARN; empty if there is no such thing at this place.
func (p Place) ARN(t Thing) string {
	of := func(service, prefix, name string) string {
		if name == "" {
			return ""
		}
		return "arn:" + p.Partition + ":" + service + ":" + p.Region + ":" + p.Account + ":" + prefix + name
	}
	bucket := func(name string) string {
		if name == "" {
			return ""
		}
		return "arn:" + p.Partition + ":s3:::" + name
	}
	if i, ok := indexes[t]; ok {
		return p.ARN(i.table) + "/index/" + i.name
	}
	switch t {
	case Jobs:
		return of("dynamodb", "table/", p.Tables.Jobs)
	case Accounts:
		return of("dynamodb", "table/", p.Tables.Accounts)
	case Plans:
		return of("dynamodb", "table/", p.Tables.Plans)
	case Results:
		return bucket(p.Results)
	case Archives:
		return bucket(p.Archives)
	case Vault:
		return of("glacier", "vaults/", p.Vault)
	case PremiumTopic:
		return of("sns", "", p.PremiumTopic)
	case RestoreTopic:
		return of("sns", "", p.RestoreTopic)
	case PremiumQueue:
		return of("sqs", "", p.PremiumQueue)
	case RestoreQueue:
		return of("sqs", "", p.RestoreQueue)
	case PremiumDead:
		return of("sqs", "", DeadQueue(p.PremiumQueue))
	case RestoreDead:
		return of("sqs", "", DeadQueue(p.RestoreQueue))
	}
	return ""
}

// LastOf returns the name at the end of an ARN or of a queue's URL.
func LastOf(arnOrURL string) string {
	if parts := splitARN(arnOrURL); parts != nil {
		return parts[5]
	}
	if arnOrURL == "" {
		return ""
	}
	return path.Base(arnOrURL)
}

// splitARN returns the six parts of an ARN; nil if it is none.
func splitARN(s string) []string {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return nil
	}
	return parts
}
