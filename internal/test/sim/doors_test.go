package sim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
)

// mode is how an effect breaks.
type mode int

const (
	pass        mode = iota
	crashBefore      // the process dies, the effect does not happen
	crashAfter       // the effect happens, the process dies
	lost             // the effect happens, the process sees an error
	refused          // the effect does not happen, the process sees an error
)

var modes = []mode{crashBefore, crashAfter, lost, refused}

func (m mode) String() string {
	return [...]string{"pass", "crash before", "crash after", "took effect but error", "error"}[m]
}

var (
	errDead    = errors.New("the process is dead")
	errRefused = errors.New("connection refused by the simulation")
	errLost    = errors.New("connection lost by the simulation")
)

// process is one life of a replica: its doors, and its end.
type process struct {
	w       *world
	service string
	ctx     context.Context
	cancel  context.CancelFunc

	mu     sync.Mutex // guards what follows
	dead   bool
	conns  []net.Conn      // to NATS, and from browsers
	wires  []*wire         // to NATS
	ails   [3]time.Time    // until when, by the ailment
	ahead  time.Duration   // its clock of the world's
	broken map[string]bool // calls that refuse every further try
}

// kill ends the process as kill -9 does: nothing leaves it any more.
func (p *process) kill() {
	p.mu.Lock()
	p.dead = true
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	p.cancel()
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// reads are the calls of AWS that change nothing. What is not here is an effect,
// so that a new call is one until somebody says otherwise.
var reads = []string{
	"DynamoDB.GetItem", "DynamoDB.Query", "DynamoDB.Scan",
	"Glacier.DescribeJob", "Glacier.ListJobs", "Glacier.GetJobOutput", "Glacier.DescribeVault",
	"S3.GetObject", "S3.HeadObject", "S3.HeadBucket", "S3.ListObjectsV2", "S3.GetObjectAttributes", "S3.ListParts", "S3.ListMultipartUploads",
	"SQS.GetQueueAttributes",
}

// RoundTrip is the door to AWS.
func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	point := awsPoint(r)
	do := func() (*http.Response, error) {
		return p.over(r, func() (*http.Response, error) {
			if point == "Glacier.InitiateJob" || point == "S3.RestoreObject" {
				p.w.asking()
			}
			return p.w.door.RoundTrip(r)
		})
	}
	if slices.Contains(reads, point) {
		return p.read(do)
	}
	// The SDK tries a call several times; the fault is of the call.
	return p.effect(point, r.Header.Get("Amz-Sdk-Invocation-Id"), do)
}

// provider is the door to the sign-in provider.
type provider struct{ p *process }

func (d provider) RoundTrip(r *http.Request) (*http.Response, error) {
	do := func() (*http.Response, error) { return d.p.w.idp.RoundTrip(r) }
	if r.Method == http.MethodGet {
		return d.p.read(do)
	}
	return d.p.effect("OIDC."+r.Method+" "+r.URL.Path, "", do)
}

func (p *process) read(do func() (*http.Response, error)) (*http.Response, error) {
	if p.isDead() {
		return nil, errDead
	}
	return do()
}

// effect lets do happen, or breaks it. A call that broke once is broken whenever it
// is tried again; it may have no name.
func (p *process) effect(point, call string, do func() (*http.Response, error)) (*http.Response, error) {
	p.mu.Lock()
	dead, broken := p.dead, call != "" && p.broken[call]
	p.mu.Unlock()
	if dead {
		return nil, errDead
	}
	if broken {
		return nil, errRefused
	}
	m := p.w.decide(p.service, point)
	switch m {
	case pass:
		return do()
	case crashBefore:
		p.kill()
		return nil, errDead
	}
	p.mu.Lock()
	p.broken[call] = true
	p.mu.Unlock()
	if m == refused {
		return nil, errRefused
	}
	resp, err := do()
	if err == nil {
		resp.Body.Close()
	}
	if m == crashAfter {
		p.kill()
		return nil, errDead
	}
	return nil, errLost
}

// awsPoint is the service and operation; an update of DynamoDB has what it changes
// first beside them, because a service makes several that have nothing in common.
func awsPoint(r *http.Request) string {
	point := awsmiddleware.GetServiceID(r.Context()) + "." + awsmiddleware.GetOperationName(r.Context())
	if point != "DynamoDB.UpdateItem" {
		return point
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic("sim: an update's body: " + err.Error())
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in struct {
		UpdateExpression         string
		ExpressionAttributeNames map[string]string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		panic("sim: an update that is not JSON: " + err.Error())
	}
	f := strings.FieldsFunc(in.UpdateExpression, func(c rune) bool { return c == ' ' || c == ',' })
	return point + " " + f[0] + " " + cmp.Or(in.ExpressionAttributeNames[f[1]], f[1])
}

// InProcessConn is the door to NATS.
func (p *process) InProcessConn() (net.Conn, error) {
	if p.has(frozen, deaf, mute) > 0 {
		return nil, errRefused // the client would wait for the server with a mutex held
	}
	c, err := p.w.server().InProcessConn()
	if err != nil {
		return nil, err
	}
	if !p.hold(c) {
		return nil, errDead
	}
	wire := &wire{Conn: c, p: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wires = append(p.wires, wire)
	return wire, nil
}

// hold keeps c, to be closed when the process dies; false if it is dead.
func (p *process) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		c.Close()
		return false
	}
	p.conns = append(p.conns, c)
	return true
}

// wire takes the client's protocol apart into messages.
type wire struct {
	net.Conn
	p *process

	mu        sync.Mutex // guards what follows
	buf       []byte     // what is not a whole message yet
	late      []byte     // what a frozen process wrote
	swallowed bool       // something of a mute one
}

// forward lets messages pass, or breaks them. The caller holds c.mu.
func (c *wire) forward(b []byte) error {
	c.buf = append(c.buf, b...)
	var out []byte // what may pass
	forward := func() error {
		if len(out) == 0 {
			return nil
		}
		_, err := c.Conn.Write(out)
		out = nil
		return err
	}
	for {
		n, point := message(c.buf)
		if n == 0 {
			break
		}
		msg := c.buf[:n:n]
		c.buf = c.buf[n:]
		m := pass
		if point != "" {
			m = c.p.w.decide(c.p.service, point)
		}
		if m == pass || m == crashAfter || m == lost {
			out = append(out, msg...)
		}
		switch m {
		case crashBefore, crashAfter:
			forward()
			c.p.kill()
			return errDead
		case lost:
			// Its answer never comes.
			forward()
			c.Conn.Close()
			return errLost
		}
	}
	return forward()
}

// message returns the length of the first message of the NATS protocol in b, 0 if
// there is no whole one, and its fault point, empty if it changes nothing.
func message(b []byte) (n int, point string) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return 0, ""
	}
	line := string(b[:end])
	n = end + 2
	f := strings.Fields(line)
	if len(f) < 3 || !strings.EqualFold(f[0], "PUB") && !strings.EqualFold(f[0], "HPUB") {
		return n, ""
	}
	size, err := strconv.Atoi(f[len(f)-1])
	if err != nil {
		panic("sim: not the NATS protocol: " + line)
	}
	if len(b) < n+size+2 {
		return 0, ""
	}
	return n + size + 2, subjectPoint(f[1], string(b[n:n+size]))
}

func subjectPoint(subject, payload string) string {
	t := strings.Split(subject, ".")
	switch {
	case t[len(t)-1] == "=look":
		return "" // asks whether something would be stored; stores nothing
	case strings.HasPrefix(subject, "$JS.ACK."):
		verb, _, _ := strings.Cut(payload, " ")
		switch verb {
		case "", "+ACK":
			return "NATS.ack " + t[2]
		case "-NAK":
			return "NATS.nak " + t[2]
		case "+WPI":
			return "NATS.lease " + t[2]
		}
		return "NATS." + verb + " " + t[2]
	case strings.HasPrefix(subject, "$KV."):
		return "NATS.put " + t[1]
	case strings.HasPrefix(subject, "_INBOX"):
		return ""
	case strings.HasPrefix(subject, "$JS.API."):
		for _, read := range []string{".INFO", ".MSG.NEXT.", ".MSG.GET.", ".DIRECT.GET.", ".NAMES"} {
			if strings.Contains(subject, read) {
				return ""
			}
		}
		return "NATS.api " + strings.Join(t[2:min(len(t), 4)], ".")
	}
	switch t[0] {
	case "status":
		return "NATS.publish status" // the rest is the user and the job
	case "aside":
		return "NATS.publish aside " + t[2] // for however long
	}
	return "NATS.publish " + strings.Join(t[:min(len(t), 2)], ".")
}
