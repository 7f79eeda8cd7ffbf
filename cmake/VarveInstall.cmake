# What `cmake --install` puts down beside the programs (varve_program installs those).

# mount(8) looks for a helper of the type's name in /sbin: with the prefix /usr, `mount -t fuse.varvefs none DIR -o
# lowerdir=...` and fstab find this one. With another prefix fuse3's own mount.fuse finds varvefs through PATH.
install(CODE "
  set(sbin \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}\")
  file(MAKE_DIRECTORY \"\${sbin}\")
  file(CREATE_LINK ../${CMAKE_INSTALL_BINDIR}/varvefs \"\${sbin}/mount.fuse.varvefs\" SYMBOLIC)
  message(STATUS \"Installing: \${sbin}/mount.fuse.varvefs -> ../${CMAKE_INSTALL_BINDIR}/varvefs\")
")
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
