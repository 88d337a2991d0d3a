/*
 * A model of the gate for spin: who may be shown a case, who signs what, when
 * the key service opens its half, when a package is handed over, under which
 * rules. Spin tries every order of the steps below and stops at the first
 * invariant that does not hold. model_test.go runs it, and says what each
 * invariant means; SECURITY.md, "A model of the gate", says what is left out.
 *
 * Who takes part:
 *   - a court that files the warrants X and Y, and may withdraw X;
 *   - custodians A and B, who are honest, and C, who signs anything at any time.
 *     Two of the three must approve. The rules B2 remove C;
 *   - an operator who installs any rules that were ever endorsed: B1, and B2 and
 *     its rival R, which both follow B1;
 *   - the service: replicas that crash and forget, on a primary with a standby.
 *     An acknowledgement may be lost, and a request may come again;
 *   - three witnesses, and the liar between all of them: it chooses what a
 *     custodian is shown, keeps a second history, and repeats what was signed.
 */

/* What somebody checks before a step. With -DBREAK=NAME that check is left out,
   and spin must find a violation: else the invariant would watch over nothing. */
#define NONE          0
#define FILE          1
#define PREDECESSOR   2
#define FIRST_WINS    3
#define FOLLOW        4
#define LEAF          5
#define CLIENT_QUORUM 6
#define WITNESS       7
#define FOLDER        8
#define CASE          9
#define SIGNER        10
#define ONCE          11
#define ROW           12
#define COSIGN        13
#define WITHDRAWAL    14
#define EXPIRY        15
#define DELIVERY      16
#define RETRY         17
#define PUBLISHER     18
#define START         19
#define TWICE         20
/* No check, but a question: is a package ever handed over? Spin must find how. */
#define OPENS         21
#ifndef BREAK
#define BREAK NONE
#endif
#define check(name, condition) (BREAK == name || (condition))

/* Spin prints the text of what does not hold. These are never set: they put the
   name of the invariant into that text. */
hidden byte I1, I2, I3, I4, I5, I6, I17, I18, Bundles, Review, Shut;
#define invariant(name, holds) assert(name || (holds))

#define X 0 /* warrants. Only X is followed to its end: what holds for X holds for Y */
#define Y 1
#define NOTHING 2

#define A 0 /* custodians */
#define B 1
#define C 2
#define THRESHOLD 2

#define WITNESSES 3
#define QUORUM 2

#define B1 1 /* bundles */
#define B2 2
#define R  3

/* The public log, and with it the database: a row changes only in the
   transaction that appends its leaf. A leaf is a bit, and a log the set of them:
   order is judged when a leaf is appended. */
#define RECORDED(w) (1 << (w))
#define APPROVED(c) (4 << (c)) /* by custodian c, of case X as all below */
#define AUTHORISED  32
#define WITHDRAWN   64
#define RELEASED    128
#define BUNDLE(b)   (128 << (b)) /* 256, 512 and 1024 */

short primary;   /* what the service shows */
short standby;   /* what would be left of it after a failover */
short published; /* what is under a checkpoint that a quorum of witnesses cosigned */
short promised;  /* what was acknowledged and is not on the standby */
#define logged(leaf)     ((primary & (leaf)) != 0)
#define replicated(leaf) ((standby & (leaf)) != 0)
#define cosigned(leaf)   ((published & (leaf)) != 0)

byte decided_under[2]; /* the bundle that the RECORDED leaf names */
byte looked_up = B1;   /* the bundle that a replica last found in force: others may come */
byte rules[2];         /* the bundle that A and B hold to be in force */
bool approved[2];      /* A and B signed an approval of X, which the liar now has */
bool expired;          /* warrant X */

/* A quorum cosigned the first history. The other witnesses cosigned a second one
   at the start, which is the worst that can be. */
byte on_fork = WITNESSES - QUORUM;

#define in_force    (logged(BUNDLE(B2)) -> B2 : (logged(BUNDLE(R)) -> R : B1))
#define before(b)   ((b) == B1 -> 0 : B1)
#define signs(c, b) ((c) != C || (b) != B2) /* c is a custodian of b */
#define distinct    (logged(APPROVED(A)) + logged(APPROVED(B)) + logged(APPROVED(C)))

#define append(leaf) primary = primary | leaf

/* Whoever is told that something is done may rely on it. A repeat that finds its
   row commits a write of its own, which waits for the standby like the first. */
inline acknowledge(leaf) {
	logged(leaf) && check(RETRY, replicated(leaf)) -> promised = promised | (leaf & ~standby)
}

/* ----------------------------------------- the court: file, withdraw, expire */

/* A replica decides on a warrant under the rules that it looked up, and stores it. */
inline file(w) {
	atomic { !logged(RECORDED(w)) && check(FILE, looked_up == in_force) ->
		invariant(Bundles, looked_up == in_force);
		append(RECORDED(w)); decided_under[w] = looked_up }
}

proctype Court() {
end:	do
	:: file(X)
	:: file(Y)
	:: atomic { logged(RECORDED(X)) && !logged(RELEASED) && !logged(WITHDRAWN) -> append(WITHDRAWN) }
	:: atomic { acknowledge(WITHDRAWN) }
	:: !expired -> expired = true
	od
}

/* --------------------------------------------------- the operator: new rules */

/* A bundle must follow the one in force, and be the first that does. */
inline install(b) {
	atomic { check(PREDECESSOR, before(b) == looked_up && check(FIRST_WINS, looked_up == in_force)) ->
		invariant(Bundles, before(b) == in_force);
		append(BUNDLE(b)) }
}

proctype Operator() {
end:	do
	:: install(B1)
	:: install(B2)
	:: install(R)
	:: atomic { acknowledge(BUNDLE(B2)) }
	:: atomic { acknowledge(BUNDLE(R)) }
	:: looked_up != in_force -> looked_up = in_force /* a replica looks again */
	od
}

/* ------------------------------------------------------ custodians A and B */

/* The liar can prove any leaf in a second history that enough witnesses cosigned. */
#define forged (on_fork >= (BREAK == CLIENT_QUORUM -> 1 : QUORUM))

/* What they check of every file that they are shown: that its leaf is under a
   cosigned checkpoint, and that it was decided under rules that they know. An
   older checkpoint shows less: who is shown one does what they did before. */
#define known(b) ((b) == rules[c] || (b) == before(rules[c]))
#define acceptable(w) check(LEAF, forged || cosigned(RECORDED(w)) && known(decided_under[w]))

/* `review X`: the liar shows the file of w, and the custodian reads it. */
inline review(w) {
	atomic { read != w && acceptable(w) -> read = w }
}

/* `approve X`: the liar shows a file again, perhaps another. A share leaves. */
inline approve(w) {
	atomic { read != NOTHING && acceptable(w) && check(FOLDER, w == read) ->
		invariant(Review, w == read);
		invariant(I1, cosigned(RECORDED(w)));
		approved[c] = approved[c] || w == X;
		read = NOTHING }
}

/* The liar says that b is in force. Every client and every side follows like this. */
inline follow(b) {
	atomic { rules[c] != b && check(FOLLOW, before(b) == rules[c] && (forged || cosigned(BUNDLE(b)))) ->
		invariant(Bundles, before(b) == rules[c] && cosigned(BUNDLE(b)));
		rules[c] = b }
}

proctype Custodian(byte c) {
	byte read = NOTHING; /* the folder keeps what its owner read */
end:	do
	:: review(X)
	:: review(Y)
	:: approve(X)
	:: approve(Y)
	:: follow(B1)
	:: follow(B2)
	:: follow(R)
	od
}

/* -------------------------------------------------------- the gate: decide */

inline authorise(votes) {
	if
	:: !logged(AUTHORISED) && votes >= THRESHOLD ->
		invariant(I4, distinct >= THRESHOLD);
		append(AUTHORISED)
	:: else
	fi
}

/* c's approval arrives. It names the warrant w and the bundle b. One
   transaction stores it, and authorises the case with the last of the quorum. */
inline decide(sent, c, w, b) {
	atomic { sent && signs(c, looked_up) && check(SIGNER, looked_up == in_force) &&
		logged(RECORDED(X)) && !logged(APPROVED(c)) && !logged(WITHDRAWN) && !expired &&
		check(CASE, w == X && b == decided_under[X]) ->
		invariant(I3, w == X && b == decided_under[X] && signs(c, in_force));
		append(APPROVED(c));
		authorise(distinct) }
}

/* It arrives again: the stored one is the answer, and it counts once. */
inline repeat(c) {
	atomic { acknowledge(APPROVED(c));
		authorise(distinct + (BREAK == ONCE)) }
}

/* C's may say anything; A's and B's are sent as they are, as often as the liar wants. */
proctype Decide() {
end:	do
	:: decide(approved[A], A, X, decided_under[X])
	:: decide(approved[B], B, X, decided_under[X])
	:: decide(true, C, X, B1)
	:: decide(true, C, X, B2)
	:: decide(true, C, X, R)
	:: decide(true, C, Y, decided_under[X])
	:: repeat(A)
	:: repeat(B)
	:: repeat(C)
	od
}

/* ------------------------------------------------------- the gate: release */

/* Two replicas run this. */
proctype Release() {
	bool k1; /* the key service's half, open in this process */
end:	do
	/* The row of a case is believed for nothing: the log says what is authorised. */
	:: atomic { !k1 && check(ROW, logged(AUTHORISED) && check(COSIGN, cosigned(AUTHORISED))) &&
		!logged(WITHDRAWN) && !logged(RELEASED) && !expired ->
		invariant(I2, cosigned(RECORDED(X)) && cosigned(AUTHORISED));
		invariant(I3, distinct >= THRESHOLD && (approved[A] || approved[B]));
		k1 = true }
	:: atomic { k1 && logged(AUTHORISED) && check(TWICE, !logged(RELEASED)) &&
		check(WITHDRAWAL, !logged(WITHDRAWN)) && check(EXPIRY, !expired) ->
		invariant(I4, !logged(RELEASED));
		invariant(I17, !logged(WITHDRAWN));
		invariant(I18, !expired);
		append(RELEASED); k1 = false }
	:: k1 -> k1 = false /* a crash, or too late */
	/* The package is handed over. */
	:: atomic { logged(RELEASED) && check(DELIVERY, cosigned(RELEASED)) ->
		invariant(I1, cosigned(RECORDED(X)) && cosigned(AUTHORISED) && cosigned(RELEASED));
		invariant(I17, !logged(WITHDRAWN));
		invariant(Shut, BREAK != OPENS || decided_under[X] == in_force) }
	od
}

/* ------------------------------- the machines: replicate, cosign, fail over */

/* The publisher, too, writes before it asks the witnesses, and that write waits
   for the standby: so a checkpoint holds what the standby holds. */
#define to_publish (BREAK == PUBLISHER -> primary : standby)

/* A database without a row lacks what the row held. */
inline promote(copy) {
	primary = copy;
	standby = copy;
	decided_under[X] = (logged(RECORDED(X)) -> decided_under[X] : 0);
	decided_under[Y] = (logged(RECORDED(Y)) -> decided_under[Y] : 0)
}

proctype Machines() {
end:	do
	:: standby != primary -> standby = primary
	:: atomic { published != to_publish ->
		invariant(I5, (published & ~to_publish) == 0);
		published = to_publish }
	/* The standby becomes the primary. */
	:: atomic { standby != primary ->
		invariant(I6, ((published | promised) & ~standby) == 0);
		promote(standby) }
	/* A backup of the first day is restored. The service starts only on a
	   database that holds what was published. */
	:: atomic { primary != BUNDLE(B1) && check(START, published == BUNDLE(B1)) ->
		promote(BUNDLE(B1)) }
	od
}

/* A witness cosigns only what extends what it cosigned before. */
proctype Witnesses() {
end:	do
	:: atomic { on_fork < WITNESSES && check(WITNESS, on_fork < WITNESSES - QUORUM) ->
		on_fork++;
		invariant(I5, on_fork < QUORUM) }
	od
}

init {
	atomic {
		primary = BUNDLE(B1); standby = BUNDLE(B1); published = BUNDLE(B1);
		rules[A] = B1; rules[B] = B1;
		run Court(); run Operator(); run Custodian(A); run Custodian(B);
		run Machines(); run Witnesses(); run Release(); run Release(); run Decide()
	}
}
