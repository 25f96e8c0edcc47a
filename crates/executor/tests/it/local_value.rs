//! `Local`: values that count as `Send`, and stay on their thread all the same.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;

use picot_executor::{Executor, Local};

/// The count of leaked values belongs to the process, so the tests that change it take turns.
fn counted() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn elsewhere<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// The text of the panic of `run`, on another thread.
fn panic_elsewhere(run: impl FnOnce() + Send) -> String {
    let payload = elsewhere(|| catch_unwind(AssertUnwindSafe(run)).unwrap_err());
    payload.downcast_ref::<String>().expect("a text with the type's name").clone()
}

#[test]
fn any_value_may_be_sent_and_shared() {
    fn check<T: Send + Sync + 'static>(_: &T) {}
    check(&Local::new(Rc::new(1)));
    check(&Local::new(Cell::new(1)));
    check(&Local::new(ptr::null::<u8>()));
    check(&Local::new(pending::<Rc<()>>()));
}

#[test]
fn each_access_on_another_thread_panics_and_names_the_type() {
    let mut local = Local::new(Cell::new(1));
    let accesses: [fn(&mut Local<Cell<i32>>); 2] = [|local| _ = local.get(), |local| *local.get_mut() += 1];
    for access in accesses {
        let text = panic_elsewhere(|| access(&mut local));
        assert!(text.contains("`Local<core::cell::Cell<i32>>` was used on another thread"), "{text}");
    }
    assert!(elsewhere(|| local.try_get().is_none()));
    assert_eq!(elsewhere(|| format!("{local:?}")), "Local(of another thread)");
    assert_eq!(local.get(), 1);
    assert_eq!(format!("{local:?}"), "Local(Cell { value: 1 })");
}

#[test]
fn a_poll_on_another_thread_panics_and_the_future_goes_on_at_home() {
    let mut polls = 0;
    let mut local = Local::new(poll_fn(|_| {
        polls += 1;
        Poll::Ready(polls)
    }));
    let text = panic_elsewhere(|| _ = Pin::new(&mut local).poll(&mut Context::from_waker(Waker::noop())));
    assert!(text.contains("was used on another thread"), "{text}");
    assert_eq!(Executor::new().block_on(local), 1);
}

#[test]
fn a_value_is_taken_out_at_home_only() {
    let local = Local::new(Rc::new(7));
    let local = elsewhere(|| local.try_into_inner().unwrap_err());
    assert_eq!(*local.try_into_inner().unwrap(), 7);
}

#[test]
#[cfg_attr(miri, ignore = "it leaks on purpose, which Miri reports")]
fn a_drop_on_another_thread_leaks_and_counts_also_while_it_unwinds() {
    let _turn = counted();
    let before = Local::leaked();
    let value = Rc::new(());
    drop(Local::new(value.clone()));
    assert_eq!((Rc::strong_count(&value), Local::leaked()), (1, before), "at home it is dropped");

    let local = Local::new(value.clone());
    elsewhere(move || drop(local));
    assert_eq!((Rc::strong_count(&value), Local::leaked()), (2, before + 1));

    let local = Local::new(value.clone());
    let text = panic_elsewhere(move || {
        let local = local;
        panic!("{}", if local.try_get().is_none() { "first" } else { "at home" });
    });
    assert_eq!(text, "first");
    assert_eq!((Rc::strong_count(&value), Local::leaked()), (3, before + 2));
}

/// The drop guarantee of `Pin`: the memory of a pinned value stays until its destructor has run.
#[test]
#[cfg_attr(miri, ignore = "it leaks on purpose, which Miri reports")]
fn a_pinned_value_that_is_leaked_keeps_its_memory() {
    /// Its address is known elsewhere, as that of a value in a list is.
    struct Listed {
        number: Cell<u64>,
        _pinned: PhantomPinned,
    }

    impl Future for Listed {
        type Output = *const Cell<u64>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<*const Cell<u64>> {
            Poll::Ready(&raw const self.number)
        }
    }

    let _turn = counted();
    let before = Local::leaked();
    let listed = Listed { number: Cell::new(1), _pinned: PhantomPinned };
    let mut local = Box::pin(Local::new(listed));
    let Poll::Ready(address) = local.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("pending") };
    let outside = (&raw const *local).cast::<u8>() as usize;
    assert!((address as usize).abs_diff(outside) >= size_of::<Local<Listed>>(), "not inside of the `Local`");
    elsewhere(move || drop(local));
    assert_eq!(Local::leaked(), before + 1);
}

#[test]
fn a_task_awaits_what_only_looks_as_if_it_could_travel() {
    let executor = Executor::new();
    // The type that frameworks ask for.
    let travels: Pin<Box<dyn Future<Output = Rc<i32>> + Send>> = Box::pin(Local::new(async {
        let shared = Rc::new(1);
        ready(()).await;
        shared
    }));
    let task = executor.spawn(travels);
    assert_eq!(*executor.block_on(task.into_future()).unwrap(), 1);
}

#[cfg(feature = "futures")]
#[test]
fn the_traits_of_futures_pass_through() {
    use futures_lite::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, Cursor, SeekFrom};
    use futures_lite::stream::{Stream, StreamExt, iter};

    Executor::new().block_on(async {
        let mut file = Local::new(Cursor::new(Vec::new()));
        file.write_all(b"one\ntwo\n").await.unwrap();
        file.flush().await.unwrap();
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let (mut line, mut rest) = (String::new(), String::new());
        file.read_line(&mut line).await.unwrap();
        file.read_to_string(&mut rest).await.unwrap();
        file.close().await.unwrap();
        assert_eq!((&*line, &*rest), ("one\n", "two\n"));

        let numbers = Local::new(iter([1, 2]));
        assert_eq!(numbers.size_hint(), (2, Some(2)));
        assert_eq!(numbers.collect::<Vec<_>>().await, [1, 2]);
    });
}
