package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// JobAttributes returns this service's names of the job attributes that the annotation
// service writes. Another table may have other names.
func JobAttributes() []string {
	return []string{
		"job_id", "user_id", "submit_time", "input_file_name", "job_status", "complete_time",
		"s3_results_bucket", "s3_key_result_file", "s3_key_log_file", "archive_id", "archive_locator", "retrieval_request_id",
	}
}

// AccountAttributes returns the names of an account's attributes.
func AccountAttributes() []string { return []string{"user_id", "name", "email", "role"} }

// renamed returns a sentence for each mistake in names. names has the table's name for each
// attribute that has another name there; known has our names.
func renamed(names map[string]string, known []string) (wrong []string) {
	taken := map[string]string{}
	for _, ours := range known {
		theirs := ours
		if name, there := names[ours]; there {
			theirs = name
		}
		if theirs == "" || len(theirs) > 255 || strings.TrimSpace(theirs) != theirs {
			wrong = append(wrong, fmt.Sprintf("%s=%q is no name of an attribute", ours, theirs))
		} else if other, there := taken[theirs]; there {
			wrong = append(wrong, fmt.Sprintf("%s and %s cannot both be called %q", other, ours, theirs))
		}
		taken[theirs] = ours
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Sprintf("%q is not one of %s", name, strings.Join(known, ", ")))
		}
	}
	return wrong
}
