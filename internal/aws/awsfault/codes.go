package awsfault

import "github.com/gas-restore/gas/internal/fault"

// The services, as the SDK names them in its errors.
const (
	dynamodb = "DynamoDB"
	sns      = "SNS"
	sqs      = "SQS"
)

// noLongerSupported answers every vault call of an account that has no vaults, since 15
// December 2025.
const noLongerSupported = "NoLongerSupportedException"

// codes maps AWS's error codes to kinds. A code that is not here gets its kind from its
// HTTP status. A test compares this map with the SDK's models, and gives a reason for
// each code that is not here.
//
// A mistake of set-up that an operator must fix is Denied: the work waits for the fix.
var codes = map[string]fault.Kind{
	// Glacier
	"InsufficientCapacityException": fault.Capacity,
	"PolicyEnforcedException":       fault.Policy,
	"LimitExceededException":        fault.Throttled,
	"ResourceNotFoundException":     fault.NotFound,
	"RequestTimeoutException":       fault.Transient,
	"ServiceUnavailableException":   fault.Transient,
	noLongerSupported:               fault.Denied, // the account or the region has no Glacier any more

	// SQS: the message is not lent to us any more.
	"ReceiptHandleIsInvalid":                    fault.NotFound,
	"MessageNotInflight":                        fault.NotFound,
	"AWS.SimpleQueueService.MessageNotInflight": fault.NotFound,
	// SQS: too many messages are lent out.
	"OverLimit":                                   fault.Throttled,
	"InvalidAddress":                              fault.Denied, // the queue's URL is none
	"InvalidSecurity":                             fault.Denied, // it wants TLS, or another signature
	"QueueDoesNotExist":                           fault.Denied,
	"QueueDeletedRecently":                        fault.Denied,
	"AWS.SimpleQueueService.NonExistentQueue":     fault.Denied,
	"AWS.SimpleQueueService.QueueDeletedRecently": fault.Denied,
	"AWS.SimpleQueueService.UnsupportedOperation": fault.Denied,
	"UnsupportedOperation":                        fault.Denied,

	// everywhere
	"ThrottlingException":                    fault.Throttled,
	"Throttling":                             fault.Throttled,
	"Throttled":                              fault.Throttled,
	"ThrottledException":                     fault.Throttled,
	"TooManyRequestsException":               fault.Throttled,
	"RequestLimitExceeded":                   fault.Throttled,
	"ProvisionedThroughputExceededException": fault.Throttled,
	"SlowDown":                               fault.Throttled,
	"RequestThrottled":                       fault.Throttled,
	"RequestThrottledException":              fault.Throttled,
	"BandwidthLimitExceeded":                 fault.Throttled,
	"PriorRequestNotComplete":                fault.Throttled,
	"EC2ThrottledException":                  fault.Throttled,
	"RequestTimeout":                         fault.Transient,
	"RequestTimeTooSkewed":                   fault.Transient,
	"RequestExpired":                         fault.Transient,
	"InternalServerError":                    fault.Transient,
	"InternalFailure":                        fault.Transient,
	"InternalError":                          fault.Transient,
	"ServiceUnavailable":                     fault.Transient,
	"IDPCommunicationError":                  fault.Transient, // STS could not ask the provider of a role's token
	"AccessDenied":                           fault.Denied,
	"AccessDeniedException":                  fault.Denied,
	"AuthFailure":                            fault.Denied,
	"AuthorizationError":                     fault.Denied,
	"ExpiredToken":                           fault.Denied,
	"ExpiredTokenException":                  fault.Denied,
	"IDPRejectedClaim":                       fault.Denied,
	"IncompleteSignature":                    fault.Denied,
	"IncompleteSignatureException":           fault.Denied,
	"InvalidAccessKeyId":                     fault.Denied,
	"InvalidClientTokenId":                   fault.Denied,
	"InvalidIdentityToken":                   fault.Denied,
	"InvalidSignatureException":              fault.Denied,
	"InvalidToken":                           fault.Denied,
	"MissingAuthenticationToken":             fault.Denied,
	"MissingAuthenticationTokenException":    fault.Denied,
	"NotAuthorized":                          fault.Denied,
	"NotSignedUp":                            fault.Denied,
	"OptInRequired":                          fault.Denied,
	"RegionDisabledException":                fault.Denied,
	"SignatureDoesNotMatch":                  fault.Denied,
	"SubscriptionRequiredException":          fault.Denied,
	"TokenRefreshRequired":                   fault.Denied,
	"UnrecognizedClientException":            fault.Denied,

	// DynamoDB
	"ConditionalCheckFailedException":          fault.Conflict,
	"TransactionConflictException":             fault.Transient,
	"TransactionInProgressException":           fault.Transient,
	"ReplicatedWriteConflictException":         fault.Transient, // another region writes the item
	"ResourceInUseException":                   fault.Transient, // the table is being changed
	"ItemCollectionSizeLimitExceededException": fault.Denied,    // somebody added a local index
	"InvalidEndpointException":                 fault.Denied,

	// S3
	"NoSuchKey":                   fault.NotFound,
	"NoSuchVersion":               fault.NotFound,
	"NotFound":                    fault.NotFound,
	"PreconditionFailed":          fault.Conflict,
	"ConditionalRequestConflict":  fault.Transient,
	"OperationAborted":            fault.Transient,
	"BadDigest":                   fault.Corrupt,
	"XAmzContentSHA256Mismatch":   fault.Corrupt,
	"XAmzContentChecksumMismatch": fault.Corrupt,
	"IncompleteBody":              fault.Transient,
	"NoSuchUpload":                fault.Transient, // somebody aborted it: begin anew
	"TemporaryRedirect":           fault.Transient, // the bucket is new, and its name travels
	// A bucket, topic or queue that is missing, elsewhere, closed or wants what we do not
	// send is a mistake of set-up.
	"NoSuchBucket":                       fault.Denied,
	"InvalidBucketName":                  fault.Denied,
	"PermanentRedirect":                  fault.Denied,
	"MovedPermanently":                   fault.Denied,
	"AuthorizationHeaderMalformed":       fault.Denied, // signed for another region
	"AuthorizationQueryParametersError":  fault.Denied,
	"IllegalLocationConstraintException": fault.Denied,
	"InvalidLocationConstraint":          fault.Denied,
	"InvalidRegionName":                  fault.Denied,
	"InvalidRequest":                     fault.Denied, // what the bucket demands: encryption, Object Lock, ACLs
	"InvalidEncryptionAlgorithmError":    fault.Denied,
	"InvalidBucketState":                 fault.Denied,
	"InvalidObjectState":                 fault.Denied, // the object at the key is in a cold storage class
	"InvalidPayer":                       fault.Denied,
	// S3's cold storage classes.
	"GlacierExpeditedRetrievalNotAvailable": fault.Capacity,
	"RestoreAlreadyInProgress":              fault.Conflict,
	"ObjectAlreadyInActiveTierError":        fault.Conflict, // it needs no retrieval
	"ObjectNotInActiveTierError":            fault.Denied,   // a copy of an object that is not retrieved
	"AccountProblem":                        fault.Denied,
	"AllAccessDisabled":                     fault.Denied,
	"AccessPointNotReady":                   fault.Denied,
	"MethodNotAllowed":                      fault.Denied,
	"NotImplemented":                        fault.Denied, // another server, without something that we need

	// KMS's errors about the key of a bucket, topic, queue or table. S3 and DynamoDB put
	// "KMS." before the code. Each KMS code that is not here is Denied.
	"KMS.ThrottlingException":        fault.Throttled,
	"KMS.LimitExceededException":     fault.Throttled,
	"KMS.InternalException":          fault.Transient,
	"KMS.KMSInternalException":       fault.Transient,
	"KMS.DependencyTimeoutException": fault.Transient,
	"KMS.KeyUnavailableException":    fault.Transient,
	"KMSAccessDenied":                fault.Denied,
	"KMSDisabled":                    fault.Denied,
	"KMSInvalidState":                fault.Denied,
	"KMSNotFound":                    fault.Denied,
	"KMSOptInRequired":               fault.Denied,
	"KMSThrottling":                  fault.Throttled,
	"KmsAccessDenied":                fault.Denied,
	"KmsDisabled":                    fault.Denied,
	"KmsInvalidKeyUsage":             fault.Denied,
	"KmsInvalidState":                fault.Denied,
	"KmsNotFound":                    fault.Denied,
	"KmsOptInRequired":               fault.Denied,
	"KmsThrottled":                   fault.Throttled,
}

// byService has the codes that one service means otherwise than the others, or that are
// its own words for something common.
var byService = map[string]map[string]fault.Kind{
	sns: {
		"NotFound":                  fault.Denied, // the topic
		"InvalidParameter":          fault.Denied, // no ARN, or one of another region or partition
		"ValidationException":       fault.Denied,
		"SubscriptionLimitExceeded": fault.Denied,
		"FilterPolicyLimitExceeded": fault.Denied,
		"ReplayLimitExceeded":       fault.Denied,
	},
	sqs: {
		"ResourceNotFoundException": fault.Denied,
	},
	dynamodb: {
		"ResourceNotFoundException": fault.Denied, // the table, or its index
	},
}

// setUp has DynamoDB's words for what is wrong with an index or a table, under
// ValidationException, which it also says of an item.
var setUp = []string{
	"backfilling global secondary index",
	"does not have the specified index",
	"Query condition missed key schema element",
	"The provided key element does not match the schema",
	"Consistent reads are not supported on global secondary indexes",
	"Select type ALL_ATTRIBUTES is not supported for global secondary index",
	"Failed to access customer-managed KMS key",
}
