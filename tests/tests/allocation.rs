//! `decide` allocates nothing, over the whole corpus.
#![expect(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; this one counts and hands on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use portcullis_policy::crypto::RustVerifier;
use portcullis_policy::{authenticate, compile, decide};
use portcullis_tests::corpus::load;
use portcullis_tests::drivers::{incoming, real_now};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The thread may be past the end of its locals.
        let _uncounted = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn decide_allocates_nothing() {
    let mut decisions = 0;
    for entry in load().unwrap() {
        let Some(set) = compile(&entry.resources(), &entry.setting).set else {
            continue;
        };
        let now = entry.scenario.now.unwrap_or_else(real_now);
        for sent in entry.requests(now).unwrap() {
            // A path that the proxy refuses is not decided.
            let _refused =
                incoming(&sent, now + sent.at).with_request(entry.scenario.proxy, |request| {
                    let who = authenticate(&set, request, &RustVerifier);
                    let before = allocations();
                    let decision = decide(&set, request, &who);
                    assert_eq!(
                        allocations(),
                        before,
                        "{}: {}: {decision:?}",
                        entry.name,
                        sent.name
                    );
                    decisions += 1;
                });
        }
    }
    assert!(decisions > 250, "{decisions}");
    let before = allocations();
    drop(Box::new(decisions));
    assert!(allocations() > before, "the allocator does not count");
}
