/* cow-two-pages for SPIN: the six threads of configs/scenarios/cow-two-pages.litmus, the device's
 * invalidation server, and the server of its page requests.
 *
 * Two CPUs break copy-on-write on A and on B, two others store to the new pages, and two threads of
 * one device read B and then A. -DDEFERRED moves the invalidation from under the page table lock
 * (between clear and set) to range_end, which is wrong.
 *
 * A page is what its entry maps: NONE, its old frame or its new one. A store raises the floor of
 * its page when it ends, and a load must not see less than the floor at its begin (S2).
 *
 * Steps are those of the explorer, but for a few at the begin of wp_page_copy() that touch nothing
 * that anybody else does.
 */

#define A 0
#define B 1
#define NONE 0
#define OLD(page) (1 + page)
#define NEW(page) (3 + page)
#define WRITABLE(page) (entry[page] >= 3)

#define VALID 1
#define CANCELLED 2

byte entry[2];                /* page table entries: a frame or NONE */
byte content[5];              /* by frame */
bool locked[2];               /* page table locks, one for each page */
byte cached[2];               /* the device's TLB */
byte stored[2];               /* the floor: newest version whose store has ended */

byte walking[2];              /* by device thread: VALID or CANCELLED while a walk is under way */
byte walked_page[2];
bool issued[2];               /* by device thread: an access through a translation is under way */
byte issued_page[2];
bool draining[2];             /* that access must end before the invalidation completes */

bool store_to_A_ended, read_of_B_ended;

chan invalidate = [2] of { byte };
chan completed[2] = [1] of { bit };
chan page_request = [2] of { byte, byte };
chan page_response[2] = [1] of { bit };

inline lock(page) {
  atomic { !locked[page] -> locked[page] = true }
}

inline unlock(page) {
  locked[page] = false
}

/* Tell the device, and wait for its answer. */
inline notify(page) {
  invalidate!page;
  completed[page]?_
}

proctype wp_page_copy(byte page) {
  lock(page);
  unlock(page);
  content[NEW(page)] = content[OLD(page)];
  lock(page);
  entry[page] = NONE;
#ifndef DEFERRED
  notify(page);
#endif
  entry[page] = NEW(page);
  unlock(page);
#ifdef DEFERRED
  notify(page);
#endif
  skip                        /* put_page(): the old page belongs to another process too */
}

inline store(page) {
  d_step { content[entry[page]] = 1; stored[page] = 1 }
}

proctype CPU2() {
  WRITABLE(A);
  store(A);
  store_to_A_ended = true
}

proctype CPU3() {
  store_to_A_ended;
  WRITABLE(B);
  store(B)
}

/* One load of a device thread: look up; on a miss walk and insert; then the access. */
inline load(me, page) {
  do
  :: atomic {
       floor = stored[page];
       frame = cached[page];
       if
       :: frame != NONE -> issued[me] = true; issued_page[me] = page
       :: else -> walking[me] = VALID; walked_page[me] = page
       fi
     };
     if
     :: frame != NONE -> break
     :: else -> skip
     fi;
     frame = entry[page];     /* the walk */
     d_step {
       cancelled = (walking[me] == CANCELLED);
       walking[me] = 0;
       if
       :: !cancelled && frame != NONE ->
          cached[page] = frame; issued[me] = true; issued_page[me] = page
       :: else -> skip
       fi
     };
     if
     :: cancelled -> skip
     :: !cancelled && frame != NONE -> break
     :: else -> page_request!me,page; page_response[me]?_
     fi
  od;
  atomic {
    value = content[frame];
    issued[me] = false;
    assert(value >= floor)
  }
}

proctype DEV0() {
  byte floor, frame, value; bool cancelled;
  read_of_B_ended;
  load(0, A)
}

proctype DEV2() {
  byte floor, frame, value; bool cancelled;
  load(1, B);
  read_of_B_ended = true
}

proctype device_invalidate() {
  byte page, thread;
end:
  do
  :: invalidate?page ->
     d_step {
       cached[page] = NONE;
       thread = 0;
       do
       :: thread < 2 ->
          if
          :: walking[thread] && walked_page[thread] == page -> walking[thread] = CANCELLED
          :: else -> skip
          fi;
          draining[thread] = issued[thread] && issued_page[thread] == page;
          thread++
       :: else -> break
       od;
       thread = 0
     };
     !((draining[0] && issued[0]) || (draining[1] && issued[1]));
     completed[page]!1
  od
}

/* The fault that answers a page request needs the page table lock; it then finds the entry set. */
proctype iopf() {
  byte page, thread;
end:
  do
  :: page_request?thread,page ->
     lock(page);
     unlock(page);
     page_response[thread]!1
  od
}

init {
  atomic {
    entry[A] = OLD(A); entry[B] = OLD(B);
    cached[A] = OLD(A); cached[B] = OLD(B);
    run wp_page_copy(A); run wp_page_copy(B);
    run CPU2(); run CPU3(); run DEV0(); run DEV2();
    run device_invalidate(); run iopf()
  }
}
