//! Unpacked trees in the user's cache: whole or not there, and never in each other's way.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, path::PathBuf};

use isorecipe::cache::{Cache, Identity, Unfinished};

struct Place {
    folder: tempfile::TempDir,
    cache: Cache,
    image: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("image");
    fs::write(&image, "one").expect("an image");
    Place { cache: Cache::below(&folder.path().join("cache")), image, folder }
}

impl Place {
    fn identity(&self) -> Identity {
        let identity = Identity::of(&fs::metadata(&self.image).expect("an image"));
        identity.settle();
        identity
    }

    fn begin(&self) -> Unfinished {
        self.cache.begin(self.identity(), &self.image).expect("a beginning")
    }

    fn names(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.cache.folder()).expect("the cache");
        all.map(|found| found.expect("an entry").path()).collect()
    }
}

#[test]
fn a_tree_is_found_when_it_is_whole_and_not_before() {
    let place = place();
    let identity = place.identity();
    let unfinished = place.begin();
    assert!(place.cache.hold(&identity).expect("a look").is_none());
    assert_eq!(place.cache.unpacked(&identity), None);
    let _held = unfinished.finish().expect("an end");
    assert!(place.cache.hold(&identity).expect("a look").is_some());
    assert!(place.cache.unpacked(&identity).is_some());
}

#[test]
fn another_content_is_another_tree_and_the_old_one_goes_unless_it_is_held() {
    let place = place();
    let old = place.begin().finish().expect("an end");
    let before = place.identity();
    fs::write(&place.image, "two").expect("an image");
    assert_ne!(place.identity(), before);
    assert_eq!(place.cache.unpacked(&place.identity()), None);
    place.begin().give_up();
    assert!(place.cache.unpacked(&before).is_some(), "somebody uses it");
    drop(old);
    place.begin().give_up();
    assert_eq!(place.names(), Vec::<PathBuf>::new());
}

#[test]
fn what_was_never_finished_is_swept_when_nobody_works_on_it() {
    let place = place();
    let (one, other) = (place.begin(), place.begin());
    assert_eq!(place.names().len(), 2, "two at once do not disturb each other");
    fs::create_dir(one.tree().join("shut")).expect("a directory");
    fs::write(one.tree().join("shut/file"), "").expect("a file");
    let shut = fs::Permissions::from_mode(0o500);
    fs::set_permissions(one.tree().join("shut"), shut).expect("a mode");
    // As if its process had been killed.
    drop(one);
    drop(other.finish().expect("an end"));
    assert_eq!(place.names().len(), 2);
    place.begin().give_up();
    assert_eq!(place.names().len(), 1);
}

#[test]
fn two_may_finish_the_same() {
    let place = place();
    let (one, other) = (place.begin(), place.begin());
    let (_one, _other) = (one.finish().expect("an end"), other.finish().expect("an end"));
    assert_eq!(place.names().len(), 1);
}

#[test]
fn a_cache_that_others_can_change_is_not_used() {
    let place = place();
    drop(place.begin());
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(place.folder.path().join("cache/isorecipe"), open).expect("a mode");
    let refused = place.cache.begin(place.identity(), &place.image).err().expect("a refusal");
    assert_eq!((refused.kind(), refused.raw_os_error()), (ErrorKind::PermissionDenied, None));
}
