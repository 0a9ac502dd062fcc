//! A library that is loaded in front of the system's (`LD_PRELOAD`): the wall clock of the process is off by as many
//! seconds as the file of the environment variable `PORTCULLIS_CLOCK` says, 8 bytes, little endian. It is called
//! before the process has an allocator, so it makes system calls and nothing else. Debian's libfaketime does more, and
//! stops Envoy in its allocator's first look at the clock.

use std::ffi::{c_char, c_int, c_long, c_void};

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
}

#[cfg(target_arch = "x86_64")]
const NUMBERS: [c_long; 4] = [228, 2, 17, 3];
#[cfg(target_arch = "aarch64")]
const NUMBERS: [c_long; 4] = [113, 56, 67, 57];

const REALTIME: c_int = 0;
const REALTIME_COARSE: c_int = 5;

/// Seconds to add; 0 when there is no file.
unsafe fn offset() -> i64 {
    let [_, open, read, close] = NUMBERS;
    unsafe {
        let path = getenv(c"PORTCULLIS_CLOCK".as_ptr());
        if path.is_null() {
            return 0;
        }
        #[cfg(target_arch = "x86_64")]
        let file = syscall(open, path, 0, 0);
        #[cfg(target_arch = "aarch64")]
        let file = syscall(open, -100, path, 0, 0);
        if file < 0 {
            return 0;
        }
        let mut bytes = [0_u8; 8];
        syscall(read, file, bytes.as_mut_ptr().cast::<c_void>(), 8_usize, 0_i64);
        syscall(close, file);
        i64::from_le_bytes(bytes)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    unsafe {
        let status = syscall(NUMBERS[0], clock, time) as c_int;
        if status == 0 && (clock == REALTIME || clock == REALTIME_COARSE) {
            (*time).seconds += offset();
        }
        status
    }
}
