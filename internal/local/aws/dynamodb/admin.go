package dynamodb

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"github.com/gas-restore/gas/internal/local/aws/world"
)

const (
	payPerRequest = "PAY_PER_REQUEST"
	provisioned   = "PROVISIONED"
	maxIndexes    = 20
)

// indexRequest is a GSI as CreateTable and UpdateTable name it.
type indexRequest struct {
	IndexName             string
	KeySchema             []keyElement
	Projection            *projection
	ProvisionedThroughput *throughput
	OnDemandThroughput    json.RawMessage
	WarmThroughput        json.RawMessage
}

type createTableRequest struct {
	TableName              string
	AttributeDefinitions   []attributeDefinition
	KeySchema              []keyElement
	GlobalSecondaryIndexes []indexRequest
	LocalSecondaryIndexes  []json.RawMessage
	BillingMode            string
	ProvisionedThroughput  *throughput
	StreamSpecification    *struct {
		StreamEnabled  bool
		StreamViewType string
	}
	SSESpecification          json.RawMessage
	Tags                      []tag
	TableClass                string
	DeletionProtectionEnabled bool
	OnDemandThroughput        json.RawMessage
	WarmThroughput            json.RawMessage
}

func (s *Service) createTable(body []byte) ([]byte, *world.Error) {
	var in createTableRequest
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	name, err := s.tableName(in.TableName)
	if err != nil {
		return nil, err
	}
	if len(in.LocalSecondaryIndexes) > 0 {
		return nil, invalid("the stand-in has no local secondary indexes: use a global one")
	}
	if in.StreamSpecification != nil && in.StreamSpecification.StreamEnabled {
		return nil, invalid("the stand-in has no streams")
	}
	if in.BillingMode == "" {
		in.BillingMode = provisioned
	}
	m := tableMeta{
		Name: name, ID: world.UUID(), Created: s.world.Clock.Now(), Attributes: in.AttributeDefinitions, Keys: in.KeySchema,
		Billing: in.BillingMode, Class: in.TableClass, Protected: in.DeletionProtectionEnabled, Tags: in.Tags,
	}
	if err := oneOf("billingMode", m.Billing, provisioned, payPerRequest); err != nil {
		return nil, err
	}
	if err := oneOf("tableClass", m.Class, "STANDARD", "STANDARD_INFREQUENT_ACCESS"); err != nil {
		return nil, err
	}
	if m.Throughput, err = checkThroughput(m.Billing, in.ProvisionedThroughput, ""); err != nil {
		return nil, err
	}
	for _, ix := range in.GlobalSecondaryIndexes {
		im, err := ix.meta(&m)
		if err != nil {
			return nil, err
		}
		m.Indexes = append(m.Indexes, im)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	m.complete()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables[name] != nil {
		return nil, world.Errorf(400, "ResourceInUseException", "Table already exists: %s", name)
	}
	t, openErr := newTable(s.world, m)
	if openErr != nil {
		return nil, world.Errorf(500, "InternalServerError", "%v", openErr)
	}
	t.lag = s.lag
	s.meta.Put(m.ID, m)
	s.tables[name] = t
	return answer("TableDescription", t.describe("CREATING"))
}

func answer(member string, doc any) ([]byte, *world.Error) {
	body, err := json.Marshal(map[string]any{member: doc})
	if err != nil {
		return nil, world.Errorf(500, "InternalServerError", "%v", err)
	}
	return body, nil
}

func checkThroughput(billing string, p *throughput, index string) (throughput, *world.Error) {
	of := "the table"
	if index != "" {
		of = "index: " + index
	}
	if billing == payPerRequest {
		if p != nil && *p != (throughput{}) {
			return throughput{}, invalid("One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
		}
		return throughput{}, nil
	}
	if p == nil {
		return throughput{}, invalid("No provisioned throughput specified for %s", of)
	}
	if p.ReadCapacityUnits < 1 || p.WriteCapacityUnits < 1 {
		return throughput{}, invalid("ReadCapacityUnits and WriteCapacityUnits must be 1 or more for %s", of)
	}
	return *p, nil
}

func (r *indexRequest) meta(m *tableMeta) (indexMeta, *world.Error) {
	if err := checkName("indexName", r.IndexName); err != nil {
		return indexMeta{}, err
	}
	if r.Projection == nil || r.Projection.Type == "" {
		return indexMeta{}, invalid("One or more parameter values were invalid: Unknown ProjectionType: null")
	}
	if err := oneOf("projectionType", r.Projection.Type, "ALL", "INCLUDE", "KEYS_ONLY"); err != nil {
		return indexMeta{}, err
	}
	if include := r.Projection.Type == "INCLUDE"; include != (len(r.Projection.Attributes) > 0) {
		if include {
			return indexMeta{}, invalid("One or more parameter values were invalid: ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
		}
		return indexMeta{}, invalid("One or more parameter values were invalid: ProjectionType is %s, but NonKeyAttributes is specified", r.Projection.Type)
	}
	p, err := checkThroughput(m.Billing, r.ProvisionedThroughput, r.IndexName)
	return indexMeta{Name: r.IndexName, Keys: r.KeySchema, Projection: *r.Projection, Throughput: p}, err
}

// check refuses a table that doesn't hang together.
func (m *tableMeta) check() *world.Error {
	used := map[string]bool{}
	defined := map[string]bool{}
	for _, a := range m.Attributes {
		if a.AttributeName == "" || len(a.AttributeName) > 255 {
			return constraintError(a.AttributeName, "attributeDefinitions.member.attributeName", "Member must have a length of 1 to 255")
		}
		if err := oneOf("attributeDefinitions.member.attributeType", a.AttributeType, "B", "N", "S"); err != nil || a.AttributeType == "" {
			return constraintError(a.AttributeType, "attributeDefinitions.member.attributeType", "Member must satisfy enum value set: [B, N, S]")
		}
		if defined[a.AttributeName] {
			return invalid("One or more parameter values were invalid: Duplicate AttributeName in AttributeDefinitions: %s", a.AttributeName)
		}
		defined[a.AttributeName] = true
	}
	if err := m.checkKeys(m.Keys, used); err != nil {
		return err
	}
	if len(m.Indexes) > maxIndexes {
		return invalid("One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the per-table limit of %d", maxIndexes)
	}
	names := map[string]bool{}
	for _, ix := range m.Indexes {
		if names[ix.Name] {
			return invalid("One or more parameter values were invalid: Duplicate index name: %s", ix.Name)
		}
		names[ix.Name] = true
		if err := m.checkKeys(ix.Keys, used); err != nil {
			return err
		}
	}
	if len(used) != len(defined) {
		return invalid("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	return nil
}

func (m *tableMeta) checkKeys(keys []keyElement, used map[string]bool) *world.Error {
	if len(keys) == 0 || len(keys) > 2 {
		return invalid("1 validation error detected: Value at 'keySchema' failed to satisfy constraint: the stand-in takes a HASH key and at most one RANGE key")
	}
	for i, k := range keys {
		if k.KeyType != []string{"HASH", "RANGE"}[i] {
			return invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type, or the second is not a RANGE key type")
		}
		if m.typeOf(k.AttributeName) == "" {
			return invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [%s], AttributeDefinitions: [%s]", k.AttributeName, m.defined())
		}
		used[k.AttributeName] = true
	}
	if len(keys) == 2 && keys[0].AttributeName == keys[1].AttributeName {
		return invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
	}
	return nil
}

func (m *tableMeta) defined() string {
	var names []string
	for _, a := range m.Attributes {
		names = append(names, a.AttributeName)
	}
	return strings.Join(names, ", ")
}

// named reads a request that names a table and nothing else.
func (s *Service) named(body []byte) (*table, *world.Error) {
	var in struct{ TableName string }
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil && err.Code == "ResourceNotFoundException" {
		err.Message += ": Table: " + in.TableName + " not found"
	}
	return t, err
}

func (s *Service) describeTable(body []byte) ([]byte, *world.Error) {
	t, err := s.named(body)
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return answer("Table", t.describe("ACTIVE"))
}

func (s *Service) deleteTable(body []byte) ([]byte, *world.Error) {
	t, err := s.named(body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted {
		return nil, noTable()
	}
	if t.meta.Protected {
		return nil, invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
	}
	doc := t.describe("DELETING")
	t.deleted = true
	delete(s.tables, t.meta.Name)
	t.meta.Dropped = true
	s.meta.Put(t.meta.ID, t.meta)
	s.clear(t)
	return answer("TableDescription", doc)
}

// clear removes what is stored of a table that is no more.
func (s *Service) clear(t *table) {
	var positions []string
	t.items.Ascend("", func(position string, _ *row) bool {
		positions = append(positions, position)
		return true
	})
	for _, p := range positions {
		t.items.Delete(p)
	}
	t.indexes, t.late = nil, nil
	s.meta.Delete(t.meta.ID)
}

func (s *Service) listTables(body []byte) ([]byte, *world.Error) {
	in := struct {
		ExclusiveStartTableName string
		Limit                   *int
	}{}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	limit := 100
	if in.Limit != nil {
		limit = *in.Limit
		if limit < 1 || limit > 100 {
			return nil, constraintError(limit, "limit", "Member must be a number from 1 to 100")
		}
	}
	s.mu.RLock()
	names := []string{}
	for name := range s.tables {
		if name > in.ExclusiveStartTableName {
			names = append(names, name)
		}
	}
	s.mu.RUnlock()
	sort.Strings(names)
	out := map[string]any{}
	if len(names) > limit {
		names = names[:limit]
		out["LastEvaluatedTableName"] = names[limit-1]
	}
	out["TableNames"] = names
	b, _ := json.Marshal(out)
	return b, nil
}

type updateTableRequest struct {
	TableName                   string
	AttributeDefinitions        []attributeDefinition
	BillingMode                 string
	ProvisionedThroughput       *throughput
	DeletionProtectionEnabled   *bool
	TableClass                  string
	GlobalSecondaryIndexUpdates []indexUpdate
}

type indexUpdate struct {
	Create *indexRequest
	Delete *struct{ IndexName string }
	Update *struct {
		IndexName             string
		ProvisionedThroughput *throughput
	}
}

// apply does the update in m. changes counts what AWS does one of at a time.
func (u *indexUpdate) apply(m *tableMeta, changes *int) *world.Error {
	at := func(name string) int {
		return slices.IndexFunc(m.Indexes, func(ix indexMeta) bool { return ix.Name == name })
	}
	missing := func(name string) *world.Error {
		return world.Errorf(400, "ResourceNotFoundException", "Requested resource not found: index %s", clip(name))
	}
	switch {
	case u.Create != nil && u.Delete == nil && u.Update == nil:
		*changes++
		if at(u.Create.IndexName) >= 0 {
			return invalid("Attempting to create an index which already exists")
		}
		im, err := u.Create.meta(m)
		if err != nil {
			return err
		}
		m.Indexes = append(m.Indexes, im)
	case u.Delete != nil && u.Create == nil && u.Update == nil:
		*changes++
		i := at(u.Delete.IndexName)
		if i < 0 {
			return missing(u.Delete.IndexName)
		}
		m.Indexes = slices.Delete(m.Indexes, i, i+1)
	case u.Update != nil && u.Create == nil && u.Delete == nil:
		i := at(u.Update.IndexName)
		if i < 0 {
			return missing(u.Update.IndexName)
		}
		p, err := checkThroughput(m.Billing, u.Update.ProvisionedThroughput, u.Update.IndexName)
		if err != nil {
			return err
		}
		m.Indexes[i].Throughput = p
	default:
		return invalid("One or more parameter values were invalid: One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null")
	}
	return nil
}

func (s *Service) updateTable(body []byte) ([]byte, *world.Error) {
	var in updateTableRequest
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	if in.BillingMode == "" && in.ProvisionedThroughput == nil && in.DeletionProtectionEnabled == nil && in.TableClass == "" && len(in.GlobalSecondaryIndexUpdates) == 0 {
		return nil, invalid("At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted {
		return nil, noTable()
	}
	m := t.meta
	m.Indexes = slices.Clone(m.Indexes)
	if err := oneOf("billingMode", in.BillingMode, provisioned, payPerRequest); err != nil {
		return nil, err
	}
	if err := oneOf("tableClass", in.TableClass, "STANDARD", "STANDARD_INFREQUENT_ACCESS"); err != nil {
		return nil, err
	}
	if in.BillingMode != "" {
		m.Billing = in.BillingMode
	}
	if in.BillingMode != "" || in.ProvisionedThroughput != nil {
		if m.Throughput, err = checkThroughput(m.Billing, in.ProvisionedThroughput, ""); err != nil {
			return nil, err
		}
	}
	if in.DeletionProtectionEnabled != nil {
		m.Protected = *in.DeletionProtectionEnabled
	}
	if in.TableClass != "" {
		m.Class = in.TableClass
	}
	for _, a := range in.AttributeDefinitions {
		if old := m.typeOf(a.AttributeName); old != "" && old != a.AttributeType {
			return nil, invalid("One or more parameter values were invalid: attribute %s is already defined with type %s", a.AttributeName, old)
		} else if old == "" {
			m.Attributes = append(slices.Clone(m.Attributes), a)
		}
	}
	changes := 0
	for _, u := range in.GlobalSecondaryIndexUpdates {
		if err := u.apply(&m, &changes); err != nil {
			return nil, err
		}
	}
	if changes > 1 {
		return nil, world.Errorf(400, "LimitExceededException", "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table")
	}
	m.forget()
	if err := m.check(); err != nil {
		return nil, err
	}
	m.complete()
	t.reindex(m)
	s.meta.Put(m.ID, m)
	return answer("TableDescription", t.describe("UPDATING"))
}

// forget drops the definitions of attributes that are in no key any more.
func (m *tableMeta) forget() {
	used := map[string]bool{}
	for _, k := range m.Keys {
		used[k.AttributeName] = true
	}
	for _, ix := range m.Indexes {
		for _, k := range ix.Keys {
			used[k.AttributeName] = true
		}
	}
	m.Attributes = slices.DeleteFunc(slices.Clone(m.Attributes), func(a attributeDefinition) bool { return !used[a.AttributeName] })
}

// reindex gives the table the indexes that m has, with the items of each.
func (t *table) reindex(m tableMeta) {
	old := t.indexes
	t.meta, t.indexes = m, nil
	for _, im := range m.Indexes {
		i := slices.IndexFunc(old, func(ix *index) bool { return ix.meta.Name == im.Name })
		if i >= 0 {
			old[i].meta = im
			t.indexes = append(t.indexes, old[i])
			continue
		}
		ix := &index{meta: im, key: m.schema(im.Keys)}
		t.items.Ascend("", func(position string, r *row) bool {
			item := r.item()
			if ix.key.checkIndexed(item, im.Name) == nil { // an item that does not fit is left out, as at AWS
				ix.put(position, r, item)
			}
			return true
		})
		t.indexes = append(t.indexes, ix)
	}
}

func (s *Service) describeTTL(body []byte) ([]byte, *world.Error) {
	t, err := s.named(body)
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	doc := map[string]any{"TimeToLiveStatus": "DISABLED"}
	if t.meta.TTL != "" {
		doc = map[string]any{"TimeToLiveStatus": "ENABLED", "AttributeName": t.meta.TTL}
	}
	return answer("TimeToLiveDescription", doc)
}

func (s *Service) updateTTL(body []byte) ([]byte, *world.Error) {
	var in struct {
		TableName               string
		TimeToLiveSpecification *struct {
			AttributeName string
			Enabled       *bool
		}
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	spec := in.TimeToLiveSpecification
	if spec == nil || spec.AttributeName == "" || spec.Enabled == nil {
		return nil, invalid("TimeToLiveSpecification needs AttributeName and Enabled")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case *spec.Enabled && t.meta.TTL != "":
		return nil, invalid("TimeToLive is already enabled")
	case !*spec.Enabled && t.meta.TTL == "":
		return nil, invalid("TimeToLive is already disabled")
	case *spec.Enabled:
		t.meta.TTL = spec.AttributeName
	default:
		t.meta.TTL = ""
	}
	s.meta.Put(t.meta.ID, t.meta)
	return answer("TimeToLiveSpecification", spec)
}

func (s *Service) listTags(body []byte) ([]byte, *world.Error) {
	var in struct{ ResourceArn, NextToken string }
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	t, err := s.table(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return answer("Tags", append([]tag{}, t.meta.Tags...))
}

// describeBackups tells whether point-in-time recovery is on. Nothing can be recovered here.
func (s *Service) describeBackups(body []byte) ([]byte, *world.Error) {
	t, err := s.named(body)
	if err != nil {
		return nil, backups(err)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return answer("ContinuousBackupsDescription", t.backups())
}

// backups is how DynamoDB says on these calls that there is no table.
func backups(e *world.Error) *world.Error {
	if e.Code == "ResourceNotFoundException" {
		return world.Errorf(e.Status, "TableNotFoundException", "Table not found")
	}
	return e
}

// backups returns the description of the table's backups. The caller holds t.mu.
func (t *table) backups() map[string]any {
	recovery := map[string]any{"PointInTimeRecoveryStatus": "DISABLED"}
	if on := t.meta.Recovery; on != 0 {
		recovery = map[string]any{"PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 35, "EarliestRestorableDateTime": on, "LatestRestorableDateTime": on}
	}
	return map[string]any{"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}
}

func (s *Service) updateBackups(body []byte) ([]byte, *world.Error) {
	var in struct {
		TableName                        string
		PointInTimeRecoverySpecification *struct {
			PointInTimeRecoveryEnabled *bool
			RecoveryPeriodInDays       *int
		}
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, backups(err)
	}
	spec := in.PointInTimeRecoverySpecification
	if spec == nil || spec.PointInTimeRecoveryEnabled == nil {
		return nil, invalid("PointInTimeRecoverySpecification needs PointInTimeRecoveryEnabled")
	}
	if d := spec.RecoveryPeriodInDays; d != nil && *d != 35 {
		return nil, invalid("the stand-in knows no other RecoveryPeriodInDays than 35")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !*spec.PointInTimeRecoveryEnabled {
		t.meta.Recovery = 0
	} else if t.meta.Recovery == 0 {
		t.meta.Recovery = t.world.Clock.Now().Unix()
	}
	s.meta.Put(t.meta.ID, t.meta)
	return answer("ContinuousBackupsDescription", t.backups())
}
