// Package sim runs the whole pipeline in simulated time (ADR 15): the services as the
// commands build them, a NATS server from nats.conf, the AWS stand-in and a sign-in
// provider. All of them are in one [testing/synctest] bubble, where days pass in a
// second. Users upgrade at the site, with a browser's cookies and forms.
//
// Every effect of a service passes one of three doors: the HTTP transport of the AWS SDK,
// the connection to NATS, and web's client of the sign-in provider. The simulation owns
// the doors, so every effect is a fault point, and none can be forgotten. The name of a
// point describes the call that passes the door.
//
// A point breaks the effect in one of four modes: the process dies before it; the process
// dies after it; the effect happens and the caller sees an error; it does not happen and
// the caller sees an error. A process that died is started again, as its supervisor would
// do. In the end a checker that knows nothing about the services compares S3, Glacier,
// DynamoDB and JetStream with the beginning.
package sim
