//! Calls into Envoy that the SDK does not offer, or offers only with a panic: it unwraps UTF-8 in header
//! names and stops on statuses that it does not expect, and either would take the worker's VM down.
//! (proxy-wasm ABI 0.2.1)
#![expect(
    unsafe_code,
    reason = "calls into the host pass pointers; this module is all of them"
)]

use std::ptr;

use portcullis_policy::printable;
use proxy_wasm::types::LogLevel;

/// The status of a host call that worked.
const OK: u32 = 0;
/// The status of a property that is not there.
const NOT_FOUND: u32 = 1;
/// The request's headers among the host's header maps.
const REQUEST_HEADERS: u32 = 0;
/// The headers of the answer to a call among them.
const CALL_RESPONSE_HEADERS: u32 = 6;
/// The body of that answer among the host's buffers.
const CALL_RESPONSE_BODY: u32 = 4;
/// The plugin's configuration among them.
const PLUGIN_CONFIGURATION: u32 = 7;
/// The request among the streams that can be continued.
const REQUEST_STREAM: u32 = 0;
/// Leaves the translation of the status to Envoy.
const NO_GRPC_STATUS: i32 = -1;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_shared_data(
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        guard: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
        guard: u32,
    ) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_log(level: u32, message: *const u8, message_size: usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

/// WASI's clock that only moves forward.
const MONOTONIC: u32 = 1;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u16;
}

/// Envoy did not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostError;

fn check(status: u32) -> Result<(), HostError> {
    if status == OK { Ok(()) } else { Err(HostError) }
}

/// Takes over a buffer that the host allocated in our memory.
///
/// # Safety
/// `data` is null, or came with `size` from the host, which got it from our allocator.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        Vec::new()
    } else {
        // SAFETY: the host asked our allocator for exactly `size` bytes and gives them up.
        unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(data, size)) }.into_vec()
    }
}

/// All request headers in the ABI's form, for [`crate::attributes::pairs`].
pub(crate) fn request_headers() -> Result<Vec<u8>, HostError> {
    header_map(REQUEST_HEADERS)
}

fn header_map(map: u32) -> Result<Vec<u8>, HostError> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the host writes a pointer and a size.
    check(unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) })?;
    // SAFETY: they are what the host wrote.
    Ok(unsafe { take(data, size) })
}

/// One property; `None` when Envoy says that it is not there.
pub(crate) fn property(path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
    let path = path.join("\0");
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the path is valid for the call, and the host writes a pointer and a size.
    match unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) } {
        // SAFETY: they are what the host wrote.
        OK => Ok(Some(unsafe { take(data, size) })),
        NOT_FOUND => Ok(None),
        _ => Err(HostError),
    }
}

/// The plugin's configuration; empty when there is none.
pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    buffer(PLUGIN_CONFIGURATION, size)
}

/// The status of the answer to a call; `None` if there is no answer.
pub(crate) fn call_status() -> Option<Vec<u8>> {
    let bytes = header_map(CALL_RESPONSE_HEADERS).ok()?;
    let headers = crate::attributes::pairs(&bytes)?;
    let status = headers.iter().find(|(name, _)| *name == b":status");
    status.map(|(_, value)| value.to_vec())
}

/// The body of the answer to a call.
pub(crate) fn call_body(size: usize) -> Vec<u8> {
    buffer(CALL_RESPONSE_BODY, size)
}

/// What all workers share under a name, and the number that guards its change.
pub(crate) fn shared_data(name: &str) -> Result<(Vec<u8>, u32), HostError> {
    let (mut data, mut size, mut guard) = (ptr::null_mut(), 0, 0);
    // SAFETY: the name is valid for the call, and the host writes a pointer and two numbers.
    check(unsafe {
        proxy_get_shared_data(
            name.as_ptr(),
            name.len(),
            &raw mut data,
            &raw mut size,
            &raw mut guard,
        )
    })?;
    // SAFETY: they are what the host wrote.
    Ok((unsafe { take(data, size) }, guard))
}

/// Shares something, unless it was changed since `guard` was read; 0 does not look.
pub(crate) fn set_shared_data(name: &str, value: &[u8], guard: u32) -> Result<(), HostError> {
    // SAFETY: name and value are valid for the call.
    check(unsafe {
        proxy_set_shared_data(
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
            guard,
        )
    })
}

/// Makes the calls that follow speak of another context; an error when it is gone.
pub(crate) fn speak_of(context: u32) -> Result<(), HostError> {
    // SAFETY: only a number is passed.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Sets how often the root context that is spoken of ticks.
pub(crate) fn set_tick_period(milliseconds: u32) {
    // SAFETY: only a number is passed.
    let _lost = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// Lets a paused request go on.
pub(crate) fn continue_request() -> Result<(), HostError> {
    // SAFETY: only a number is passed.
    check(unsafe { proxy_continue_stream(REQUEST_STREAM) })
}

/// A number that differs between workers and moments, to spread what they do.
pub(crate) fn random() -> u64 {
    // The lowest digits of a clock that counts nanoseconds.
    now().unwrap_or_default() / 100
}

fn buffer(kind: u32, size: usize) -> Vec<u8> {
    let (mut data, mut taken) = (ptr::null_mut(), 0);
    // SAFETY: the host writes a pointer and a size.
    let status = unsafe { proxy_get_buffer_bytes(kind, 0, size, &raw mut data, &raw mut taken) };
    // SAFETY: they are what the host wrote, or still null.
    let bytes = unsafe { take(data, taken) };
    if status == OK { bytes } else { Vec::new() }
}

/// Calls a function that Envoy offers by name.
pub(crate) fn call_foreign_function(name: &str, argument: &[u8]) -> Result<Vec<u8>, HostError> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: name and argument are valid for the call, and the host writes a pointer and a size.
    check(unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            argument.as_ptr(),
            argument.len(),
            &raw mut data,
            &raw mut size,
        )
    })?;
    // SAFETY: they are what the host wrote.
    Ok(unsafe { take(data, size) })
}

/// A statistic of Envoy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric(u32);

impl Metric {
    /// A number that only grows.
    pub(crate) fn counter(name: &str) -> Result<Self, HostError> {
        Self::define(0, name)
    }

    /// A number that goes up and down.
    pub(crate) fn gauge(name: &str) -> Result<Self, HostError> {
        Self::define(1, name)
    }

    /// A distribution.
    pub(crate) fn histogram(name: &str) -> Result<Self, HostError> {
        Self::define(2, name)
    }

    fn define(kind: u32, name: &str) -> Result<Self, HostError> {
        let mut id = 0;
        // SAFETY: the name is valid for the call, and the host writes a number.
        check(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) })?;
        Ok(Self(id))
    }

    /// Adds to a counter. A count that Envoy does not take is lost; a request must not fail for it.
    pub(crate) fn add(self, count: u64) {
        self.change(count.cast_signed());
    }

    /// Adds to a gauge, or takes away from it.
    pub(crate) fn change(self, difference: i64) {
        // SAFETY: only numbers are passed.
        let _lost = unsafe { proxy_increment_metric(self.0, difference) };
    }

    /// Records a value of a distribution, or sets a gauge.
    pub(crate) fn record(self, value: u64) {
        // SAFETY: only numbers are passed.
        let _lost = unsafe { proxy_record_metric(self.0, value) };
    }
}

/// Leaves a text in the stream's filter state, as `wasm.NAME`, for access logs and filters behind us.
pub(crate) fn set_filter_state(name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: name and value are valid for the call.
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Milliseconds of a clock that nobody sets, the same for all workers of the process; on a host without one, of the
/// clock that tells the time.
pub(crate) fn milliseconds() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the host writes a number.
    let status = unsafe { clock_time_get(MONOTONIC, 0, &raw mut nanoseconds) };
    let nanoseconds = if status == 0 {
        nanoseconds
    } else {
        now().unwrap_or_default()
    };
    nanoseconds / 1_000_000
}

/// Seconds since the epoch.
pub(crate) fn seconds() -> Result<u64, HostError> {
    Ok(now()? / 1_000_000_000)
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> Result<u64, HostError> {
    let mut nanoseconds = 0;
    // SAFETY: the host writes a number.
    check(unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) })?;
    Ok(nanoseconds)
}

/// Writes one line to Envoy's log: a sentence in the sense of [`printable`].
pub(crate) fn log(level: LogLevel, line: &str) {
    let message = format!("portcullis: {}", printable::sentence(line));
    // A line that Envoy does not take is lost; a request must not fail for it.
    // SAFETY: the message is valid for the call.
    let _lost = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Whether Envoy writes lines of `level` to its log.
pub(crate) fn logs(level: LogLevel) -> bool {
    let mut lowest = 0;
    // SAFETY: the host writes a number.
    check(unsafe { proxy_get_log_level(&raw mut lowest) }).is_ok() && level as u32 >= lowest
}

/// Removes all values of a request header.
pub(crate) fn remove_request_header(name: &[u8]) -> Result<(), HostError> {
    // SAFETY: the name is valid for the call.
    check(unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) })
}

/// Adds a value to a request header.
pub(crate) fn add_request_header(name: &[u8], value: &[u8]) -> Result<(), HostError> {
    // SAFETY: name and value are valid for the call.
    check(unsafe {
        proxy_add_header_map_value(
            REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Sets a request header to one value.
pub(crate) fn replace_request_header(name: &[u8], value: &[u8]) -> Result<(), HostError> {
    // SAFETY: name and value are valid for the call.
    check(unsafe {
        proxy_replace_header_map_value(
            REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Replies to the client in place of the upstream. `details` are Envoy's response code details.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    headers: &[(&[u8], &[u8])],
    body: &[u8],
) -> Result<(), HostError> {
    let headers = serialize(headers).ok_or(HostError)?;
    // SAFETY: all buffers are valid for the call.
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

/// The ABI's form of a header map: a count, the sizes of all names and values, then these, each with a NUL.
fn serialize(pairs: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let mut bytes = u32::try_from(pairs.len()).ok()?.to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend(u32::try_from(value.len()).ok()?.to_le_bytes());
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
    }
    Some(bytes)
}
